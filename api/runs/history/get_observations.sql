-- Observations of a run, in order of time: one of them, or those whose results are not larger than so many bytes as they are kept.
select w.slug as workflow, o.id, o.run_id, o.tool, o.contract_version, o.source, o.status, o.args, o.result, o.labels, o.digest, o.error,
    o.created_at, o.erased_at, o.erased_classes,
    jsonb_build_object('tenant_id', r.tenant_id, 'run_id', r.id,
        'keys', (select k.keys from app.run_keys k where k.tenant_id = r.tenant_id and k.run_id = r.id)) as kept
from app.observations o
join app.runs r on r.tenant_id = o.tenant_id and r.id = o.run_id
join app.workflows w on w.tenant_id = r.tenant_id and w.id = r.workflow_id
where o.run_id = %(run_id)s and (%(id)s::uuid is null or o.id = %(id)s)
    and (%(ids)s::uuid[] is null or o.id = any(%(ids)s))
    and (%(bytes)s::integer is null or octet_length(o.result::text) <= %(bytes)s)
order by o.created_at, o.id
limit %(limit)s
