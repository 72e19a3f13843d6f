-- Comments on one exception, newest first, each with the name of who wrote it; one row without an id when there are none.
select c.id, e.id as exception_id, c.user_id, m.name, c.text, c.digest, c.created_at, c.erased_at
from app.exceptions e
left join app.exception_comments c on c.tenant_id = e.tenant_id and c.exception_id = e.id
    and (%(after_at)s::timestamptz is null or (c.created_at, c.id) < (%(after_at)s, %(after_id)s))
left join app.members m on m.tenant_id = c.tenant_id and m.user_id = c.user_id
where e.id = %(id)s
order by c.created_at desc, c.id desc
limit %(limit)s
