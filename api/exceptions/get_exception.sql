-- One exception with everything needed to decide it. The observations are those the agent named as evidence.
select e.id, e.kind, e.kill_switch_id, e.provider_reference, e.reproposed_as, e.status, e.severity, e.summary, e.action_id, e.run_id, w.slug as workflow, w.title as workflow_title, a.tool, e.class_key, e.assigned_to, m.name as assigned_name, a.effect, e.decided_at, e.expires_at, e.created_at,
    case when private.currency_of_worth(e.class) is not null then jsonb_build_object('amount', private.worth_of(e.class),
        'currency', private.currency_of_worth(e.class)) end as amount,
    (select coalesce(jsonb_agg(distinct r ->> 'check'), '[]') from jsonb_array_elements(d.reasons) r
        where r ->> 'outcome' = case e.kind when 'manual' then 'deny' else 'escalate' end) as stopped_by,
    e.environment, a.digest, a.payload::jsonb -> 'args' as args, a.confidence::float8 as confidence, a.rationale, a.citations, a.evidence,
    a.subject, d.document as decision, r.instruction, r.started_by_kind as instructed_by, a.supersedes, a.edited_by, e.decided_by, e.reason,
    jsonb_build_object('kind', a.proposed_by_kind, 'id', a.proposed_by, 'name', coalesce(
        (select p.name from app.members p where p.tenant_id = a.tenant_id and p.user_id = a.proposed_by),
        (select s.name from app.service_accounts s where s.tenant_id = a.tenant_id and s.id = a.proposed_by))) as proposed_by,
    (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'tool', o.tool, 'source', o.source, 'args', o.args, 'result', o.result,
            'labels', o.labels, 'created_at', o.created_at) order by o.created_at), '[]')
        from app.observations o where o.tenant_id = a.tenant_id and o.run_id = a.run_id
            and o.id in (select (v ->> 'observation_id')::uuid from jsonb_array_elements(a.evidence) v)) as observations,
    (select coalesce(jsonb_agg(jsonb_build_object('user_id', p.user_id, 'name', (select n.name from app.members n
            where n.tenant_id = p.tenant_id and n.user_id = p.user_id), 'role', p.role, 'aal', p.aal, 'verdict', p.verdict,
            'reason', p.reason, 'created_at', p.created_at) order by p.created_at), '[]')
        from app.approvals p where p.tenant_id = a.tenant_id and p.action_id = a.id) as approvals,
    e.class, case when e.class_key is not null then (
        select jsonb_build_object('days', %(days)s::integer, 'count', count(*), 'open', count(*) filter (where c.status = 'open'),
            'approved', count(*) filter (where c.status = 'approved'), 'rejected', count(*) filter (where c.status = 'rejected'),
            'edited', count(*) filter (where c.status = 'edited'), 'answered', count(*) filter (where c.status = 'answered'),
            'expired', count(*) filter (where c.status = 'expired'), 'first_seen', min(c.created_at), 'last_seen', max(c.created_at))
        from app.exceptions c where c.tenant_id = e.tenant_id and c.class_key = e.class_key
            and (c.id = e.id or c.created_at > now() - make_interval(days => %(days)s::integer))) end as recurrence,
    jsonb_build_object('tenant_id', r.tenant_id, 'run_id', r.id,
        'keys', (select k.keys from app.run_keys k where k.tenant_id = r.tenant_id and k.run_id = r.id)) as keys
from app.exceptions e
join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
join app.workflows w on w.tenant_id = a.tenant_id and w.id = a.workflow_id
join app.decisions d on d.tenant_id = a.tenant_id and d.action_id = a.id
join app.runs r on r.tenant_id = a.tenant_id and r.id = a.run_id
left join app.members m on m.tenant_id = e.tenant_id and m.user_id = e.assigned_to
where e.id = %(id)s
