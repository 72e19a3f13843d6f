-- The tenant's actions, newest first, after the given key. Those of the page are found first, in the indexes as far as these know what is
-- asked for, and only they are looked at whole.
select a.id, a.status, a.tool, a.effect, w.slug as workflow, a.run_id, a.environment, a.digest, a.created_at
from (
    select s.tenant_id, s.id, s.created_at from app.actions s
    where (%(status)s::text is null or s.status = %(status)s)
        and (%(workflow)s::text is null or s.workflow_id = (select o.id from app.workflows o where o.slug = %(workflow)s))
        and (%(tool)s::text is null or s.tool = %(tool)s)
        and (%(effect)s::text is null or s.effect = %(effect)s)
        and (%(run_id)s::uuid is null or s.run_id = %(run_id)s)
        and (%(after_at)s::timestamptz is null or (s.created_at, s.id) < (%(after_at)s, %(after_id)s))
    order by s.created_at desc, s.id desc
    limit %(limit)s
) f
join app.actions a on a.tenant_id = f.tenant_id and a.id = f.id
join app.workflows w on w.tenant_id = a.tenant_id and w.id = a.workflow_id
order by f.created_at desc, f.id desc
