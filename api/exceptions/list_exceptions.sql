-- The queue, newest first, after the given key.
select e.id, e.kind, e.status, e.severity, e.summary, e.action_id, e.run_id, w.slug as workflow, a.tool, e.class_key, e.assigned_to, e.expires_at, e.created_at
from app.exceptions e
join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
join app.workflows w on w.tenant_id = a.tenant_id and w.id = a.workflow_id
where (%(status)s::text is null or e.status = %(status)s)
    and (%(kind)s::text is null or e.kind = %(kind)s)
    and (%(class_key)s::text is null or e.class_key = %(class_key)s)
    and (%(after_at)s::timestamptz is null or (e.created_at, e.id) < (%(after_at)s, %(after_id)s))
order by e.created_at desc, e.id desc
limit %(limit)s
