-- Comments on one exception, newest first, each with the name of who wrote it; one row without a number when there are none.
select e.id as exception_id, c.number, c.user_id, m.name, c.text, c.digest, c.created_at, c.erased_at
from app.exceptions e
left join app.exception_comments c on c.tenant_id = e.tenant_id and c.id = e.id and (%(before)s::integer is null or c.number < %(before)s)
left join app.members m on m.tenant_id = c.tenant_id and m.user_id = c.user_id
where e.id = %(id)s
order by c.number desc
limit %(limit)s
