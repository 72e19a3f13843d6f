-- Actions and the decisions on them. Python decides; what is here refuses to keep what must not be.

create table app.actions (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    run_id uuid not null,
    workflow_id uuid not null,
    workflow_version integer not null,
    tool text not null,
    contract_version integer not null,
    effect text not null,
    connection_id uuid,
    payload text not null,        -- RFC 8785 canonical JSON: the bytes that the digest names
    digest text not null,
    status text not null,
    status_reason text,
    confidence numeric check (confidence between 0 and 1),
    rationale text not null default '' check (length(rationale) <= 20000),
    rationale_digest text,        -- what the audit log keeps of the rationale, which may quote what must be erased one day
    citations jsonb not null default '[]',
    evidence jsonb not null default '[]',
    subject jsonb,
    required_approvals integer not null check (required_approvals between 0 and 10),
    required_roles text[] not null,
    required_aal text not null check (required_aal in ('aal1', 'aal2')),
    proposed_by_kind text not null,
    proposed_by uuid,
    edited_by uuid,
    supersedes uuid,
    expires_at timestamptz not null,
    next_attempt_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id),
    foreign key (tenant_id, workflow_id, workflow_version) references app.workflow_versions (tenant_id, workflow_id, version),
    foreign key (tenant_id, connection_id) references app.connections (tenant_id, id),
    foreign key (tenant_id, supersedes) references app.actions (tenant_id, id),
    constraint status_known check (status in ('awaiting_approval', 'authorized', 'executing', 'succeeded', 'failed', 'unknown',
        'dead_letter', 'rejected', 'expired', 'superseded', 'cancelled', 'denied')),
    -- The digest names these bytes, and the bytes name this tenant, tool and connection.
    constraint digest_of_payload check (digest = 'sha256:' || encode(sha256(convert_to(payload, 'UTF8')), 'hex')),
    constraint payload_of_row check (payload::jsonb - 'args' = jsonb_build_object('tenant', tenant_id, 'environment', environment,
        'workflow_version', workflow_version, 'tool', tool, 'tool_contract_version', contract_version, 'connection', connection_id)),
    constraint proposer_known check (proposed_by_kind = 'system' and proposed_by is null
        or proposed_by_kind in ('user', 'service') and proposed_by is not null),
    constraint payload_has_args check (jsonb_typeof(payload::jsonb -> 'args') = 'object')
);
create index actions_by_time on app.actions (tenant_id, created_at desc, id desc);
create index actions_by_run on app.actions (tenant_id, run_id);
create index actions_by_workflow on app.actions (tenant_id, workflow_id, workflow_version);
create index actions_by_connection on app.actions (tenant_id, connection_id);
create index actions_by_supersedes on app.actions (tenant_id, supersedes) where supersedes is not null;
create index actions_due on app.actions (next_attempt_at) where status = 'authorized';

-- The facts each decision was made on: with the proposal and the time, anyone can decide again.
create table app.gate_facts (
    tenant_id uuid not null references app.tenants,
    workflow_id uuid not null,
    epoch bigint not null,
    environment text not null,
    facts jsonb not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, workflow_id, epoch),
    foreign key (tenant_id, workflow_id) references app.workflows (tenant_id, id)
);

create table app.decisions (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null,
    action_id uuid,               -- null: an evaluation that was only asked for
    run_id uuid,
    workflow_id uuid not null,
    epoch bigint not null,
    outcome text not null check (outcome in ('allow', 'escalate', 'deny')),
    document jsonb not null,      -- every finding, the risk, the approvals required, the versions cited
    reasons jsonb not null,       -- the findings that did not allow, for the audit record
    proposal jsonb,               -- of an evaluation; an action holds its own
    decided_at timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id),
    foreign key (tenant_id, workflow_id, epoch) references app.gate_facts (tenant_id, workflow_id, epoch)
);
create unique index decisions_by_action on app.decisions (tenant_id, action_id);
create index decisions_by_facts on app.decisions (tenant_id, workflow_id, epoch);

select private.append_only('app.gate_facts');

-- Approvals that count for an action: this digest, distinct people, neither proposer nor editor, unexpired,
-- a role that was asked for, and a second factor where money moves.
create function private.approvals_for(p_action app.actions) returns integer
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Whoever has left, or lost the role since, has taken his approval along.
    return (select count(distinct a.user_id) from app.approvals a
    join app.members m on m.tenant_id = a.tenant_id and m.user_id = a.user_id and m.role = any (p_action.required_roles)
    where m.role = any (select unnest(roles) from private.permissions where permission = 'exceptions.decide') and a.tenant_id = p_action.tenant_id and a.action_id = p_action.id and a.verdict = 'approve'
        and a.digest = p_action.digest and a.expires_at > clock_timestamp()
        and a.user_id is distinct from p_action.proposed_by and a.user_id is distinct from p_action.edited_by
        and a.role = any (p_action.required_roles)
        and (a.aal = 'aal2' or (p_action.required_aal = 'aal1' and p_action.effect <> 'money_movement')));
end
$$;

-- Invariants 3, 4 and 5 for every caller, the owner of the table included.
create function private.guard_action() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_contract private.tools_in_force;
    v_switch app.kill_switches;
    v_principal private.principal;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'An action is never deleted.');
    elsif tg_op = 'INSERT' then
        new.rationale_digest := 'sha256:' || encode(sha256(convert_to(new.rationale, 'UTF8')), 'hex');
        select * into v_contract from private.tools_in_force where name = new.tool;
        if v_contract.effect is distinct from new.effect or v_contract.version is distinct from new.contract_version then
            perform private.fail(409, 'contract_moved', 'The action does not name the contract in force and its effect.');
        elsif new.status not in ('awaiting_approval', 'authorized', 'denied') then
            perform private.fail(409, 'invalid_transition', format('An action cannot begin as %s.', new.status));
        elsif new.status <> 'denied' and new.required_approvals < 1 and (private.is_hard_gate(new.effect) or new.edited_by is not null) then
            perform private.fail(409, 'hard_gate', 'This effect, or an edited payload, always needs an approval.');
        end if;
    elsif new.status <> old.status and (old.status, new.status) not in (
        ('awaiting_approval', 'authorized'), ('awaiting_approval', 'rejected'), ('awaiting_approval', 'expired'),
        ('awaiting_approval', 'superseded'), ('awaiting_approval', 'cancelled'),
        ('authorized', 'executing'), ('authorized', 'cancelled'), ('authorized', 'expired'), ('authorized', 'unknown'),
        ('executing', 'authorized'), ('executing', 'succeeded'), ('executing', 'failed'), ('executing', 'unknown'), ('executing', 'dead_letter'),
        ('unknown', 'succeeded'), ('unknown', 'failed'), ('unknown', 'authorized'),
        ('dead_letter', 'authorized'), ('dead_letter', 'cancelled')) then
        perform private.fail(409, 'invalid_transition', format('An action cannot go from %s to %s.', old.status, new.status));
    end if;
    if tg_op = 'UPDATE' and old.status = 'dead_letter' and new.status = 'authorized' then
        v_principal := private.require('actions.requeue');
        if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id then
            perform private.fail(403, 'people_only', 'Only a person of the tenant requeues a dead letter.');
        end if;
    end if;
    if new.status in ('authorized', 'executing')
        and private.approvals_for(new) < greatest(new.required_approvals,
            (private.is_hard_gate(new.effect) or tg_op = 'UPDATE' and old.status = 'awaiting_approval')::integer) then
        perform private.fail(409, 'approvals_missing', 'The approvals of exactly this payload are missing or expired.');
    end if;
    if new.status = 'executing' and (tg_op = 'INSERT' or old.status <> 'executing') then
        perform private.lock_tenant(new.tenant_id, false);
        v_switch := private.kill_switch_over(new.tenant_id, new.workflow_id, new.connection_id, new.tool,
            case when new.proposed_by_kind = 'service' then new.proposed_by end);
        if v_switch.id is not null then
            perform private.fail(409, 'kill_switch_engaged', format('A kill switch covers this: %s', v_switch.reason));
        end if;
    end if;
    return new;
end
$$;
-- Who proposed or edited a payload is who calls, so that nobody approves his own under another's name (invariant 4).
create function private.guard_proposer() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.current_principal();
    v_proposer record;
begin
    if new.supersedes is null then
        v_proposer := row(v_principal.kind, v_principal.id, null::uuid);
    else
        select proposed_by_kind, proposed_by, v_principal.id into v_proposer from app.actions
            where tenant_id = new.tenant_id and id = new.supersedes and status = 'superseded' and v_principal.kind = 'user';
    end if;
    if v_principal.tenant_id is distinct from new.tenant_id
        or v_proposer is distinct from row(new.proposed_by_kind, new.proposed_by, new.edited_by) then
        perform private.fail(403, 'not_the_proposer', 'An action is proposed or edited in the caller''s own name.');
    end if;
    perform private.require_environment(v_principal, new.environment);
    return new;
end
$$;
create trigger actions_guard_proposer before insert on app.actions
    for each row execute function private.guard_proposer();
create trigger actions_guard before insert or update or delete on app.actions
    for each row execute function private.guard_action();
create trigger actions_keep_columns before update on app.actions
    for each row execute function private.keep_columns('status', 'status_reason', 'next_attempt_at', 'updated_at');
select private.audit_table('app.actions', 'action', 'proposed', 'tool digest effect workflow_version contract_version connection_id required_approvals supersedes edited_by', 'rationale_digest citations status_reason');
select private.audit_table('app.decisions', 'decision', 'made', 'outcome epoch', 'reasons');
select private.append_only('app.decisions');

alter table app.actions enable row level security;
alter table app.actions force row level security;
alter table app.gate_facts enable row level security;
alter table app.gate_facts force row level security;
alter table app.decisions enable row level security;
alter table app.decisions force row level security;
create policy "members read their tenant's actions of their environment" on app.actions for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
create policy "members read their tenant's gate facts of their environment" on app.gate_facts for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
create policy "members read their tenant's decisions of their environment" on app.decisions for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.actions, app.gate_facts, app.decisions to authenticated;

-- Everything the gate decides on, as of now, kept under the epoch so that the decision can be replayed.
create function private.gate_facts(p_tenant uuid, p_workflow app.workflows) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_facts jsonb;
    v_spec jsonb;
    v_epoch bigint;
begin
    perform private.lock_tenant(p_tenant, false);
    select control_epoch into v_epoch from app.tenants where tenant_id = p_tenant;
    select facts into v_facts from app.gate_facts where tenant_id = p_tenant and workflow_id = p_workflow.id and epoch = v_epoch;
    if found then
        return v_facts;
    end if;
    select spec into v_spec from app.workflow_versions
        where tenant_id = p_tenant and workflow_id = p_workflow.id and version = p_workflow.live_version;
    v_facts := jsonb_build_object(
        'epoch', v_epoch, 'tenant_id', p_tenant,
        'workflow', jsonb_build_object('id', p_workflow.id, 'slug', p_workflow.slug, 'environment', p_workflow.environment,
            'version', p_workflow.live_version, 'spec', v_spec),
        'contracts', (select coalesce(jsonb_object_agg(t.name, t.contract || jsonb_build_object('version', t.version)), '{}')
            from private.tools_in_force t where v_spec -> 'tools' ? t.name),
        'known_tools', (select coalesce(jsonb_object_agg(t.name, jsonb_build_object('version', t.version, 'effect', t.effect)), '{}')
            from private.tools_in_force t),
        'connections', (select coalesce(jsonb_object_agg(c.id, jsonb_build_object('provider', c.provider, 'access', c.access,
                'environment', c.environment, 'status', c.status, 'scopes_granted', c.scopes_granted)), '{}')
            from app.connections c where c.tenant_id = p_tenant and c.environment = p_workflow.environment),
        'kill_switches', (select coalesce(jsonb_agg(jsonb_build_object('id', k.id, 'scope', k.scope, 'target', k.target, 'reason', k.reason) order by k.id), '[]')
            from app.kill_switches k where k.tenant_id = p_tenant and k.status = 'engaged'),
        'constitution', (select jsonb_build_object('version', version, 'rules', rules)
            from app.constitution_versions where tenant_id = p_tenant order by version desc limit 1));
    insert into app.gate_facts (tenant_id, workflow_id, epoch, environment, facts)
    values (p_tenant, p_workflow.id, v_epoch, p_workflow.environment, v_facts) on conflict do nothing;
    return v_facts;
end
$$;

-- The facts of a workflow, for a function instance that holds none. args: {workflow}
create function app.gate_facts_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.read');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'workflow');
begin
    if v_workflow.live_version is null then
        perform private.fail(409, 'workflow_not_live', 'The workflow has no live version.');
    end if;
    return jsonb_build_object('facts', private.gate_facts(v_principal.tenant_id, v_workflow),
        'principal', jsonb_build_object('kind', v_principal.kind, 'id', v_principal.id));
end
$$;

-- Writes an action with its decision and, when a human is needed, its exception. Called with the epoch's lock held.
create function private.insert_action(p_principal private.principal, p_run app.runs, p_args jsonb, p_edited_by uuid, p_supersedes app.actions)
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
    insert into app.decisions (tenant_id, id, environment, action_id, run_id, workflow_id, epoch, outcome, document, reasons, decided_at)
    values (p_principal.tenant_id, (p_args ->> 'decision_id')::uuid, p_run.environment, v_id, p_run.id, p_run.workflow_id,
        (p_args ->> 'epoch')::bigint, v_decision ->> 'outcome', v_decision, p_args -> 'reasons', (v_decision ->> 'decided_at')::timestamptz);
    if v_exception is not null then
        insert into app.exceptions (tenant_id, id, environment, action_id, run_id, severity, summary, expires_at)
        values (p_principal.tenant_id, v_exception, p_run.environment, v_id, p_run.id, p_args ->> 'severity', p_args ->> 'summary',
            (p_args ->> 'expires_at')::timestamptz);
    end if;
    return jsonb_build_object('recorded', true, 'id', v_id, 'status', v_status, 'digest', p_args ->> 'digest', 'decision', v_decision,
        'exception', case when v_exception is not null then jsonb_build_object('id', v_exception, 'expires_at', p_args ->> 'expires_at') end);
end
$$;

-- Whether a decision made on these facts may still be recorded; null when it may, else the answer that carries new facts.
create function private.stale_answer(p_principal private.principal, p_run app.runs, p_epoch bigint) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_workflow app.workflows;
begin
    perform private.lock_tenant(p_principal.tenant_id, false);
    select * into v_workflow from app.workflows where tenant_id = p_principal.tenant_id and id = p_run.workflow_id;
    if v_workflow.live_version is distinct from p_run.workflow_version then
        perform private.fail(409, 'workflow_version_moved', 'The workflow went live with a new version since the run started; start a new run.');
    end if;
    if (select control_epoch from app.tenants where tenant_id = p_principal.tenant_id) = p_epoch then
        return null;
    end if;
    return jsonb_build_object('recorded', false, 'reason', 'epoch_moved',
        'facts', private.gate_facts(p_principal.tenant_id, v_workflow));
end
$$;

-- Records a proposal with the decision made on it. Writes nothing and answers with the new facts when the epoch moved.
-- args: {id, decision_id, exception_id, run_id, workflow_id, epoch, tool, contract_version, effect, connection_id, payload, digest,
--   confidence, rationale, citations, evidence, subject, decision, reasons, severity, summary, expires_at}
create function app.record_action_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
    v_run app.runs := private.active_run(v_principal, (p_args ->> 'run_id')::uuid);
    v_stale jsonb := private.stale_answer(v_principal, v_run, (p_args ->> 'epoch')::bigint);
begin
    if v_stale is not null then
        return v_stale;
    elsif v_run.workflow_id <> (p_args ->> 'workflow_id')::uuid then
        perform private.fail(422, 'run_of_another_workflow', 'The run belongs to another workflow.');
    elsif exists (select from jsonb_array_elements(p_args -> 'evidence') e where not exists (
        select from app.observations o where o.tenant_id = v_principal.tenant_id and o.run_id = v_run.id
            and o.id = (e ->> 'observation_id')::uuid and o.status = 'succeeded')) then
        perform private.fail(422, 'unknown_evidence', 'The evidence names an observation that this run did not make, or that failed.');
    end if;
    return private.insert_action(v_principal, v_run, p_args, null, null);
end
$$;

-- Records an evaluation that nobody acts on. args: {id, workflow_id, run_id, epoch, proposal, decision, reasons}
create function app.record_evaluation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
    v_run app.runs := private.active_run(v_principal, (p_args ->> 'run_id')::uuid);
    v_stale jsonb := private.stale_answer(v_principal, v_run, (p_args ->> 'epoch')::bigint);
begin
    if v_stale is not null then
        return v_stale;
    elsif v_run.workflow_id <> (p_args ->> 'workflow_id')::uuid then
        perform private.fail(422, 'run_of_another_workflow', 'The run belongs to another workflow.');
    end if;
    insert into app.decisions (tenant_id, id, environment, run_id, workflow_id, epoch, outcome, document, reasons, proposal, decided_at)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, v_run.environment, v_run.id, v_run.workflow_id, (p_args ->> 'epoch')::bigint,
        p_args -> 'decision' ->> 'outcome', p_args -> 'decision', p_args -> 'reasons', p_args -> 'proposal',
        (p_args -> 'decision' ->> 'decided_at')::timestamptz);
    return jsonb_build_object('recorded', true, 'decision', p_args -> 'decision');
end
$$;

-- Cancels what has not started. What an earlier attempt may have done already becomes `unknown`: it is not tried
-- again, and somebody has to look. args: {id, reason}
create function app.cancel_action_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.cancel');
    v_action app.actions;
    v_status text := 'cancelled';
begin
    -- Exception before action, as everywhere: two that decide at once wait for each other in turn.
    perform from app.exceptions
        where tenant_id = v_principal.tenant_id and action_id = (p_args ->> 'id')::uuid for update;
    select * into v_action from app.actions
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such action.');
    end if;
    perform private.require_environment(v_principal, v_action.environment);
    if v_principal.kind = 'service' and (v_action.proposed_by_kind, v_action.proposed_by) is distinct from ('service', v_principal.id) then
        perform private.fail(403, 'not_the_proposer', 'A service account cancels its own actions only.');
    end if;
    if v_action.status = 'authorized' and private.may_have_happened(v_action) then
        v_status := 'unknown';
    end if;
    update app.actions set status = v_status, status_reason = p_args ->> 'reason', updated_at = now()
        where tenant_id = v_action.tenant_id and id = v_action.id;
    update app.exceptions set status = 'answered', reason = p_args ->> 'reason', decided_at = now(),
        decided_by = case when v_principal.kind = 'user' then v_principal.id end
        where tenant_id = v_action.tenant_id and action_id = v_action.id and status = 'open';
    return jsonb_build_object('id', v_action.id, 'status', v_status);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.gate_facts_v1, app.record_action_v1, app.record_evaluation_v1, app.cancel_action_v1 to authenticated;
