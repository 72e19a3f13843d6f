-- The thresholds of a workflow that were set last, by tool, and when a person last set one.
select distinct on (t.tool) t.id, w.slug as workflow, t.tool, t.version, t.threshold, t.reason, t.evidence, t.created_at,
    jsonb_build_object('kind', t.set_by_kind, 'id', t.set_by) as set_by,
    (select max(u.created_at) from app.confidence_thresholds u
        where u.workflow_id = t.workflow_id and u.tool = t.tool and u.set_by_kind = 'user') as person_at
from app.confidence_thresholds t
join app.workflows w on w.tenant_id = t.tenant_id and w.id = t.workflow_id
where t.workflow_id = %(workflow_id)s and (%(tool)s::text is null or t.tool = %(tool)s)
order by t.tool, t.version desc
