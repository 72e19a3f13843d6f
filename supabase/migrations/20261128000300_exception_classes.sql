-- Classes of exceptions, so that what comes again is seen as one thing; and decisions with all that they rested on, so that
-- anybody can decide again.

-- The class of an exception, as api/gate/classes.py tells it: its key, and what that was made of. Null of exceptions of before.
alter table app.exceptions
    add column class_key text check (class_key ~ '^[0-9a-f]{64}$'),
    add column class jsonb check (jsonb_typeof(class) = 'object' and length(class::text) <= 20000),
    add constraint exceptions_class check ((class_key is null) = (class is null) and class ->> 'key' = class_key);
create index exceptions_by_class on app.exceptions (tenant_id, class_key, created_at desc) where class_key is not null;

-- Decisions are read in the order in which they were made.
create index decisions_by_time on app.decisions (tenant_id, decided_at desc, id desc);

-- As it was, with the exception's class.
create or replace function private.insert_action(p_principal private.principal, p_run app.runs, p_args jsonb, p_edited_by uuid, p_supersedes app.actions)
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid := (p_args ->> 'id')::uuid;
    v_decision jsonb := p_args -> 'decision';
    v_status text := case v_decision ->> 'outcome' when 'allow' then 'authorized' when 'escalate' then 'awaiting_approval' else 'denied' end;
    v_exception uuid := case when v_status = 'awaiting_approval' then (p_args ->> 'exception_id')::uuid end;
begin
    insert into app.actions (tenant_id, id, environment, run_id, workflow_id, workflow_version, tool, contract_version, effect, connection_id,
        payload, digest, status, confidence, rationale, citations, evidence, subject,
        required_approvals, required_roles, required_aal, proposed_by_kind, proposed_by, edited_by, supersedes, expires_at, next_attempt_at)
    values (p_principal.tenant_id, v_id, p_run.environment, p_run.id, p_run.workflow_id, p_run.workflow_version, p_args ->> 'tool',
        (p_args ->> 'contract_version')::integer, p_args ->> 'effect', (p_args ->> 'connection_id')::uuid,
        p_args ->> 'payload', p_args ->> 'digest', v_status, (p_args ->> 'confidence')::numeric,
        coalesce(p_args ->> 'rationale', ''), p_args -> 'citations', p_args -> 'evidence', nullif(p_args -> 'subject', 'null'),
        (v_decision -> 'required_approvals' ->> 'count')::integer,
        array(select jsonb_array_elements_text(v_decision -> 'required_approvals' -> 'roles')),
        v_decision -> 'required_approvals' ->> 'aal',
        coalesce(p_supersedes.proposed_by_kind, p_principal.kind),
        case when p_supersedes.id is null then p_principal.id else p_supersedes.proposed_by end,
        p_edited_by, p_supersedes.id, (p_args ->> 'expires_at')::timestamptz, case when v_status = 'authorized' then now() end);
    insert into app.decisions (tenant_id, id, environment, action_id, run_id, workflow_id, epoch, outcome, document, reasons, decided_at, basis)
    values (p_principal.tenant_id, (p_args ->> 'decision_id')::uuid, p_run.environment, v_id, p_run.id, p_run.workflow_id,
        (p_args ->> 'epoch')::bigint, v_decision ->> 'outcome', v_decision, p_args -> 'reasons', (v_decision ->> 'decided_at')::timestamptz,
        nullif(p_args -> 'basis', 'null'));
    if v_status <> 'denied' then
        insert into app.limit_reservations (tenant_id, action_id, environment, key, amount, count, over, created_at)
        select p_principal.tenant_id, v_id, p_run.environment, c.key, c.amount, c.count, c.over, clock_timestamp()
        from jsonb_to_recordset(coalesce(v_decision -> 'limits', '[]')) as c (key text, amount bigint, count integer, over boolean);
    end if;
    if v_exception is not null then
        insert into app.exceptions (tenant_id, id, environment, action_id, run_id, severity, summary, expires_at, class_key, class)
        values (p_principal.tenant_id, v_exception, p_run.environment, v_id, p_run.id, p_args ->> 'severity', p_args ->> 'summary',
            (p_args ->> 'expires_at')::timestamptz, p_args -> 'class' ->> 'key', nullif(p_args -> 'class', 'null'));
    end if;
    return jsonb_build_object('recorded', true, 'id', v_id, 'status', v_status, 'digest', p_args ->> 'digest', 'decision', v_decision,
        'exception', case when v_exception is not null then jsonb_build_object('id', v_exception, 'expires_at', p_args ->> 'expires_at') end);
end
$$;

-- Why a decision cannot be made again, or null. `no_basis`: it is from before that was kept. `observations_erased`: what it saw
-- in its run is gone in part. Of what goes class by class no time is kept, so that is taken to have been seen.
create function private.replay_obstacle(p_decision app.decisions) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select case
        when p_decision.basis is null then 'no_basis'
        when exists (select from app.observations o where o.tenant_id = p_decision.tenant_id and o.run_id = p_decision.run_id
            and p_decision.basis ? 'observed' and o.status = 'succeeded'
            and (o.number is null or o.number <= (p_decision.basis ->> 'observed')::integer)
            and (o.erased_at > p_decision.decided_at or (o.erased_at is null and cardinality(o.erased_classes) > 0)))
        then 'observations_erased' end
$$;

-- One proposal as it was decided on: of an evaluation as it was stored, of an action made of its columns; `payload` holds the
-- arguments' exact bytes.
create function private.stored_proposal(p_decision app.decisions, p_action app.actions) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when p_action.id is null then p_decision.proposal else jsonb_build_object('run_id', p_action.run_id, 'tool', p_action.tool,
        'payload', p_action.payload, 'confidence', p_action.confidence, 'rationale', p_action.rationale, 'citations', p_action.citations,
        'evidence', p_action.evidence, 'subject', p_action.subject, 'edited_by', p_action.edited_by,
        'principal', jsonb_build_object('kind', p_action.proposed_by_kind, 'id', p_action.proposed_by)) end
$$;

-- Decisions, newest first, each with all that it rested on: facts by workflow and epoch, and runs by what had been read in them,
-- once for all that share them. args: {limit, since?, after_at?, after_id?}
create function app.stored_decisions_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('constitution.read');
    v_page uuid[];
begin
    v_page := array(select d.id from app.decisions d
        where d.tenant_id = v_principal.tenant_id
            and (v_principal.environment is null or d.environment = v_principal.environment)
            and (p_args ->> 'since' is null or d.decided_at >= (p_args ->> 'since')::timestamptz)
            and (p_args ->> 'after_at' is null
                or (d.decided_at, d.id) < ((p_args ->> 'after_at')::timestamptz, (p_args ->> 'after_id')::uuid))
        order by d.decided_at desc, d.id desc limit least((p_args ->> 'limit')::integer, 200));
    return (
        with page as materialized (
            select d, private.replay_obstacle(d) as obstacle, d.workflow_id || '/' || d.epoch as facts_key,
                d.run_id || '/' || (d.basis ->> 'observed') as run_key
            from app.decisions d where d.tenant_id = v_principal.tenant_id and d.id = any (v_page))
        select jsonb_build_object(
            'decisions', (select coalesce(jsonb_agg(jsonb_build_object('id', (p.d).id, 'action_id', (p.d).action_id, 'exception_id', e.id,
                    'human', case when e.status in ('approved', 'rejected', 'edited', 'answered') then e.status end, 'obstacle', p.obstacle,
                    'decided_at', (p.d).decided_at, 'document', (p.d).document, 'basis', (p.d).basis, 'facts', p.facts_key, 'run', p.run_key,
                    'proposal', private.stored_proposal(p.d, a)) order by (p.d).decided_at desc, (p.d).id desc), '[]')
                from page p
                left join app.actions a on a.tenant_id = (p.d).tenant_id and a.id = (p.d).action_id
                left join app.exceptions e on e.tenant_id = a.tenant_id and e.action_id = a.id),
            'facts', (select coalesce(jsonb_object_agg(f.workflow_id || '/' || f.epoch, f.facts), '{}') from app.gate_facts f
                where f.tenant_id = v_principal.tenant_id and (f.workflow_id, f.epoch) in (
                    select (p.d).workflow_id, (p.d).epoch from page p where p.obstacle is null)),
            'runs', (select coalesce(jsonb_object_agg(s.run_key, private.run_facts(r, s.observed)), '{}') from (
                    select distinct p.run_key, (p.d).run_id, ((p.d).basis ->> 'observed')::integer as observed
                    from page p where p.obstacle is null and p.run_key is not null) s
                join app.runs r on r.tenant_id = v_principal.tenant_id and r.id = s.run_id)));
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.stored_decisions_v1 to authenticated;
