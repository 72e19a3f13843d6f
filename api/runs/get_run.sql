-- One run with its observations and actions, in order of time.
select r.id, r.status, w.slug as workflow, r.workflow_version, r.environment, r.trigger, r.instruction, r.subject, r.created_at,
    (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'tool', o.tool, 'source', o.source, 'status', o.status, 'args', o.args,
            'digest', o.digest, 'error', o.error, 'created_at', o.created_at, 'erased_at', o.erased_at)
            order by o.created_at, o.id), '[]')
        from app.observations o where o.tenant_id = r.tenant_id and o.run_id = r.id) as observations,
    (select coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'tool', a.tool, 'status', a.status, 'digest', a.digest,
            'created_at', a.created_at) order by a.created_at, a.id), '[]')
        from app.actions a where a.tenant_id = r.tenant_id and a.run_id = r.id) as actions,
    jsonb_build_object('tenant_id', r.tenant_id, 'run_id', r.id,
        'keys', (select k.keys from app.run_keys k where k.tenant_id = r.tenant_id and k.run_id = r.id)) as keys
from app.runs r
join app.workflows w on w.tenant_id = r.tenant_id and w.id = r.workflow_id
where r.id = %(id)s
