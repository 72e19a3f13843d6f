-- How many actions were proposed on each day (UTC), by whether people were asked and by what became of them. An index answers it; a day is
-- made of a time once for each group, since to do so for each of a hundred thousand actions takes a third of the whole.
select (d.begun at time zone 'UTC')::date as day, d.status, d.asked, d.actions
from (
    select date_bin('1 day', a.created_at, '2000-01-01T00:00:00Z') as begun, a.status, a.required_approvals > 0 as asked, count(*) as actions
    from app.actions a
    where a.created_at >= %(since)s and (%(environment)s::text is null or a.environment = %(environment)s)
    group by 1, 2, 3) d
