-- What happened in a run beside what was read and proposed: who started it, the steps that its loop took, what became of each action and
-- on whose word, the calls of a model, and where all of it is in the audit log.
select (select v.spec -> 'pseudonyms' from app.workflows w join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id
            and v.version = coalesce(w.live_version, r.workflow_version)
        where w.tenant_id = r.tenant_id and w.id = r.workflow_id) as pseudonyms,
    r.trigger, r.trigger_detail, r.driven_by, r.status_reason, r.deadline_at, r.finished_at,
    jsonb_build_object('kind', r.started_by_kind, 'id', r.started_by,
        'name', coalesce((select m.email from app.members m where m.tenant_id = r.tenant_id and m.user_id = r.started_by),
            (select s.name from app.service_accounts s where s.tenant_id = r.tenant_id and s.id = r.started_by))) as started_by,
    (select coalesce(jsonb_agg(jsonb_build_object('number', s.number, 'name', s.name, 'outcome', s.outcome, 'detail', s.detail,
            'sealed', s.sealed, 'digest', s.digest, 'observation_id', s.observation_id, 'action_id', s.action_id,
            'started_at', s.started_at, 'finished_at', s.finished_at,
            'seconds', round(extract(epoch from s.finished_at - s.started_at)::numeric, 3)) order by s.number), '[]')
        from app.run_steps s where s.tenant_id = r.tenant_id and s.run_id = r.id) as steps,
    (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'purpose', o.purpose, 'action_id', o.action_id,
            'erased_classes', o.erased_classes, 'finished_at', o.finished_at) order by o.created_at, o.id), '[]')
        from app.observations o where o.tenant_id = r.tenant_id and o.run_id = r.id) as reads,
    (select coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'effect', a.effect, 'status_reason', a.status_reason,
            'supersedes', a.supersedes, 'moved', a.moved, 'compensates', a.compensates, 'citations', a.citations,
            'outcome', d.outcome, 'reasons', d.reasons, 'decided_at', d.document -> 'decided_at',
            'exception', (select jsonb_build_object('id', x.id, 'kind', x.kind, 'status', x.status, 'created_at', x.created_at)
                from app.exceptions x where x.tenant_id = a.tenant_id and x.action_id = a.id order by x.created_at desc limit 1),
            'approvals', (select coalesce(jsonb_agg(jsonb_build_object('user_id', p.user_id, 'role', p.role, 'verdict', p.verdict,
                    'digest', p.digest, 'reason', p.reason, 'at', p.created_at) order by p.created_at, p.id), '[]')
                from app.approvals p where p.tenant_id = a.tenant_id and p.action_id = a.id),
            'attempts', (select coalesce(jsonb_agg(jsonb_build_object('number', t.number, 'kind', t.kind, 'status', t.status,
                    'error', t.error, 'started_at', t.started_at, 'sent_at', t.sent_at, 'finished_at', t.finished_at,
                    'response_digest', t.response_digest) order by t.number), '[]')
                from app.attempts t where t.tenant_id = a.tenant_id and t.action_id = a.id)) order by a.created_at, a.id), '[]')
        from app.actions a left join app.decisions d on d.tenant_id = a.tenant_id and d.action_id = a.id
        where a.tenant_id = r.tenant_id and a.run_id = r.id) as outcomes,
    (select coalesce(jsonb_agg(jsonb_build_object('id', c.id, 'model', c.model, 'attempt', c.attempt, 'outcome', c.outcome, 'error', c.error,
            'input_tokens', c.input_tokens, 'output_tokens', c.output_tokens, 'cost', c.cost, 'currency', c.currency,
            'prompt_digest', c.prompt_digest, 'response_digest', c.response_digest, 'at', c.created_at) order by c.created_at, c.id), '[]')
        from app.model_calls c where c.tenant_id = r.tenant_id and c.run_id = r.id) as model_calls,
    (select jsonb_build_object('first', min(e.seq), 'last', max(e.seq), 'events', count(*))
        from app.audit_events e where e.tenant_id = r.tenant_id and e.run_id = r.id::text) as audit,
    jsonb_build_object('tenant_id', r.tenant_id, 'run_id', r.id,
        'keys', (select k.keys from app.run_keys k where k.tenant_id = r.tenant_id and k.run_id = r.id)) as kept
from app.runs r
where r.id = %(id)s
