-- The tenant's runs, newest first, after the given key. Those of the page are found before their workflows are looked up.
select r.id, r.status, r.status_reason, w.slug as workflow, r.workflow_version, r.environment, r.trigger, r.driven_by, r.created_at, r.finished_at
from (
    select s.* from app.runs s
    where (%(workflow)s::text is null or s.workflow_id = (select o.id from app.workflows o where o.slug = %(workflow)s))
        and (%(status)s::text is null or s.status = %(status)s)
        and (%(trigger)s::text is null or s.trigger = %(trigger)s)
        and (%(after_at)s::timestamptz is null or (s.created_at, s.id) < (%(after_at)s, %(after_id)s))
    order by s.created_at desc, s.id desc
    limit %(limit)s
) r
join app.workflows w on w.tenant_id = r.tenant_id and w.id = r.workflow_id
order by r.created_at desc, r.id desc
