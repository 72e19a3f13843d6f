-- The thresholds that were ever set, newest first, after the given key.
select t.id, w.slug as workflow, t.tool, t.version, t.threshold, t.reason, t.evidence, t.created_at,
    jsonb_build_object('kind', t.set_by_kind, 'id', t.set_by) as set_by
from app.confidence_thresholds t
join app.workflows w on w.tenant_id = t.tenant_id and w.id = t.workflow_id
where (%(workflow)s::text is null or w.slug = %(workflow)s) and (%(tool)s::text is null or t.tool = %(tool)s)
    and (%(after_at)s::timestamptz is null or (t.created_at, t.id) < (%(after_at)s, %(after_id)s))
order by t.created_at desc, t.id desc
limit %(limit)s
