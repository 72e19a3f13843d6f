-- One action with its decision, exception, approvals and attempts.
select a.id, a.status, a.status_reason, a.digest, a.environment, a.run_id, w.slug as workflow, a.tool, a.effect,
    a.payload::jsonb -> 'args' as args, a.confidence::float8 as confidence, a.rationale, a.citations, a.evidence, a.subject,
    d.document as decision, a.supersedes, a.moved, a.compensates,
    (select u.id from app.actions u where u.tenant_id = a.tenant_id and u.compensates = a.id
        and u.status not in ('denied', 'rejected', 'expired', 'superseded', 'cancelled', 'failed')) as compensated_by,
    a.expires_at, a.created_at, a.updated_at,
    (select jsonb_build_object('id', e.id, 'status', e.status, 'expires_at', e.expires_at)
        from app.exceptions e where e.tenant_id = a.tenant_id and e.action_id = a.id) as exception,
    (select coalesce(jsonb_agg(jsonb_build_object('id', p.id, 'user_id', p.user_id, 'role', p.role, 'aal', p.aal, 'verdict', p.verdict,
            'digest', p.digest, 'reason', p.reason, 'expires_at', p.expires_at, 'created_at', p.created_at) order by p.created_at), '[]')
        from app.approvals p where p.tenant_id = a.tenant_id and p.action_id = a.id) as approvals,
    (select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'number', t.number, 'status', t.status, 'idempotency_key', t.idempotency_key,
            'response', t.response, 'error', t.error, 'started_at', t.started_at, 'finished_at', t.finished_at,
            'kind', t.kind, 'sent_at', t.sent_at, 'request', t.request,
            -- A client may report for two minutes longer than its permit is valid (claim_permit_v1).
            'permit', case when t.kind = 'client' then jsonb_build_object('expires_at', t.lease_expires_at - interval '120 seconds',
                'report_by', t.lease_expires_at, 'outcome', o.outcome, 'reported_at', o.created_at, 'late', o.late) end,
            'late_answer', case when l.id is not null then jsonb_build_object('outcome', l.outcome, 'response', l.response,
                'error', l.error, 'received_at', l.received_at) end) order by t.number), '[]')
        from app.attempts t left join app.late_answers l on l.tenant_id = t.tenant_id and l.id = t.id 
            left join app.permit_outcomes o on o.tenant_id = t.tenant_id and o.id = t.id
        where t.tenant_id = a.tenant_id and t.action_id = a.id) as attempts,
    (select v.spec -> 'pseudonyms' from app.workflow_versions v where v.tenant_id = w.tenant_id and v.workflow_id = w.id
        and v.version = coalesce(w.live_version, a.workflow_version)) as pseudonyms,
    jsonb_build_object(
        'keys', jsonb_build_object('tenant_id', a.tenant_id, 'run_id', a.run_id,
            'keys', (select k.keys from app.run_keys k where k.tenant_id = a.tenant_id and k.run_id = a.run_id)),
        'reads', (select jsonb_agg(jsonb_build_object('id', o.id, 'purpose', o.purpose, 'status', o.status, 'result', o.result,
                'labels', o.labels, 'erased_at', o.erased_at, 'erased_classes', o.erased_classes) order by o.created_at, o.id)
            from app.observations o where o.tenant_id = a.tenant_id and o.action_id = a.id and o.purpose in ('before', 'after'))) as around
from app.actions a
join app.workflows w on w.tenant_id = a.tenant_id and w.id = a.workflow_id
join app.decisions d on d.tenant_id = a.tenant_id and d.action_id = a.id
where a.id = %(id)s
