-- The tenant's actions, newest first, after the given key.
select a.id, a.status, a.tool, a.effect, w.slug as workflow, a.run_id, a.environment, a.digest, a.created_at
from app.actions a
join app.workflows w on w.tenant_id = a.tenant_id and w.id = a.workflow_id
where (%(status)s::text is null or a.status = %(status)s)
    and (%(workflow)s::text is null or w.slug = %(workflow)s)
    and (%(tool)s::text is null or a.tool = %(tool)s)
    and (%(effect)s::text is null or a.effect = %(effect)s)
    and (%(run_id)s::uuid is null or a.run_id = %(run_id)s)
    and (%(after_at)s::timestamptz is null or (a.created_at, a.id) < (%(after_at)s, %(after_id)s))
order by a.created_at desc, a.id desc
limit %(limit)s
