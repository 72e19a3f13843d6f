-- The tenant's runs, newest first, after the given key.
select r.id, r.status, r.status_reason, w.slug as workflow, r.workflow_version, r.environment, r.trigger, r.driven_by, r.created_at, r.finished_at
from app.runs r
join app.workflows w on w.tenant_id = r.tenant_id and w.id = r.workflow_id
where (%(workflow)s::text is null or w.slug = %(workflow)s)
    and (%(status)s::text is null or r.status = %(status)s)
    and (%(trigger)s::text is null or r.trigger = %(trigger)s)
    and (%(after_at)s::timestamptz is null or (r.created_at, r.id) < (%(after_at)s, %(after_id)s))
order by r.created_at desc, r.id desc
limit %(limit)s
