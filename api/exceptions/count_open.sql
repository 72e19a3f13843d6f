-- How many exceptions are open: all, the person's own, and those of nobody. An index of what is open answers it.
select count(*) as open, count(*) filter (where e.assigned_to = %(user_id)s::uuid) as mine, count(*) filter (where e.assigned_to is null) as unassigned
from app.exceptions e where e.status = 'open'
