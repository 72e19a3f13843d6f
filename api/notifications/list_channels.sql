-- Channels, newest first, after the given key; of one status if asked for, else all that are not deleted; or one of them.
-- What opens them is not among the columns that may be read.
select c.id, c.environment, c.kind, c.name, c.target, c.least_severity, c.owner_id, coalesce(nullif(m.name, ''), m.email) as owner_name,
    c.status, c.status_reason, case when c.kind <> 'email' then c.generation end as secret_generation, c.previous_until,
    c.verified_at, c.version::text as etag, c.created_by, c.created_at, c.updated_at
from app.channels c
left join app.members m on m.tenant_id = c.tenant_id and m.user_id = c.owner_id
where (%(id)s::uuid is null or c.id = %(id)s)
    and (%(id)s::uuid is not null or case when %(status)s::text is null then c.status <> 'deleted' else c.status = %(status)s end)
    and (%(after_at)s::timestamptz is null or (c.created_at, c.id) < (%(after_at)s, %(after_id)s))
order by c.created_at desc, c.id desc
limit %(limit)s
