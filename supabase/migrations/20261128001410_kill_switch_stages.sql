-- Kill switches that say what they stopped, keep the proof of it, and are released in stages.

-- stage: how far it is released. `drafts`: proposals are recorded and wait for people, and nothing executes; `one_at_a_time`: one covered
-- action after the other. An engaged switch is at its first three stages; whatever looks for engaged ones alone finds them all.
alter table app.kill_switches
    add column stage text not null default 'engaged' check (stage in ('engaged', 'drafts', 'one_at_a_time', 'released')),
    add column staged_at timestamptz;
alter table app.kill_switches disable trigger user;
update app.kill_switches set stage = 'released', staged_at = released_at where status = 'released';
alter table app.kill_switches enable trigger user;
alter table app.kill_switches add constraint stage_of_status check ((stage = 'released') = (status = 'released'));
drop trigger kill_switches_keep_columns on app.kill_switches;
create trigger kill_switches_keep_columns before update on app.kill_switches
    for each row execute function private.keep_columns('status', 'released_by', 'released_at', 'release_reason', 'stage', 'staged_at');
drop trigger zz_audit_change on app.kill_switches;
select private.audit_table('app.kill_switches', 'kill_switch', 'engaged', 'scope target stage', 'reason release_reason');

-- What a switch stopped and what it could not stop any more, as it was at the moment from which on nothing started. Never changed.
create table app.kill_switch_proofs (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    document jsonb not null check (jsonb_typeof(document) = 'object'),
    digest text not null check (digest ~ '^sha256:[0-9a-f]{64}$'),
    created_at timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, id) references app.kill_switches (tenant_id, id)
);
select private.audit_table('app.kill_switch_proofs', 'kill_switch_proof', 'kept', 'digest');
alter table app.kill_switch_proofs enable row level security;
alter table app.kill_switch_proofs force row level security;
create policy "members read which proofs their tenant keeps" on app.kill_switch_proofs for select to authenticated
    using (tenant_id = (select private.current_tenant()));
-- The document names what is in both environments: get_kill_switch_v1 shows a key its own part.
grant select (tenant_id, id, digest, created_at) on app.kill_switch_proofs to authenticated;

-- A proof is what the database saw, in the transaction that engages its switch, whatever the row says.
create function private.guard_kill_switch_proof() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_switch app.kill_switches;
begin
    select * into v_switch from app.kill_switches where tenant_id = new.tenant_id and id = new.id;
    if v_switch.id is null or v_switch.engaged_at <> now() then
        perform private.fail(409, 'proof_too_late', 'The proof of a kill switch is kept when it is engaged.');
    end if;
    new.document := jsonb_set(private.stopped_by(v_switch), '{leased}', coalesce(new.document -> 'leased', '[]'));
    new.created_at := clock_timestamp();
    new.digest := 'sha256:' || encode(sha256(convert_to(new.document::text, 'UTF8')), 'hex');
    return new;
end
$$;
create trigger kill_switch_proofs_guard before insert on app.kill_switch_proofs
    for each row execute function private.guard_kill_switch_proof();
select private.append_only('app.kill_switch_proofs');

-- Whether a switch is about an action.
create function private.covers(p_switch app.kill_switches, p_action app.actions) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select p_switch.tenant_id = p_action.tenant_id and (
        p_switch.scope = 'tenant'
        or (p_switch.scope = 'workflow' and p_action.workflow_id::text = p_switch.target)
        or (p_switch.scope = 'connection' and p_action.connection_id::text = p_switch.target)
        or (p_switch.scope = 'tool' and p_action.tool = p_switch.target)
        or (p_switch.scope = 'service_account' and p_action.proposed_by_kind = 'service' and p_action.proposed_by::text = p_switch.target))
$$;

-- The amounts that an action moves, in minor units, with their currencies.
create function private.amounts_of(p_action app.actions) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object(
            'amount', p_action.payload::jsonb -> 'args' #> string_to_array(ltrim(a.key, '/'), '/'),
            'currency', coalesce(a.value ->> 'fixed_currency',
                p_action.payload::jsonb -> 'args' #>> string_to_array(ltrim(a.value ->> 'currency', '/'), '/'))) order by a.key), '[]')
    from jsonb_each((private.tool_of(p_action.tenant_id, p_action.tool)).contract -> 'arguments') a
    where a.value ->> 'role' = 'amount'
        and jsonb_typeof(p_action.payload::jsonb -> 'args' #> string_to_array(ltrim(a.key, '/'), '/')) = 'number'
$$;

-- What a switch keeps from happening, and what has left already: {queued, waiting, in_flight, unsettled}.
create function private.stopped_by(p_switch app.kill_switches) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with covered as (
        select a.* from app.actions a
        where a.tenant_id = p_switch.tenant_id and a.status in ('awaiting_approval', 'authorized', 'executing', 'unknown')
            and private.covers(p_switch, a)
    ), line as (
        select c.id, c.status, private.may_have_happened(c) as reached,
            jsonb_build_object('action_id', c.id, 'environment', c.environment, 'tool', c.tool, 'since', c.created_at) as brief
        from covered c
    )
    select jsonb_build_object(
        'queued', (select coalesce(jsonb_agg(brief order by id), '[]') from line where status = 'authorized'),
        'waiting', (select coalesce(jsonb_agg(brief order by id), '[]') from line where status = 'awaiting_approval'),
        'in_flight', (select coalesce(jsonb_agg(jsonb_build_object('action_id', c.id, 'environment', c.environment, 'tool', c.tool,
                'amounts', private.amounts_of(c), 'attempt_id', t.id, 'kind', t.kind, 'since', coalesce(t.sent_at, t.started_at),
                'lease_expires_at', t.lease_expires_at) order by c.id), '[]')
            from covered c join app.attempts t on t.tenant_id = c.tenant_id and t.action_id = c.id and t.status = 'executing'),
        -- Sent before, and nobody knows: it may turn out to have happened.
        'unsettled', (select coalesce(jsonb_agg(brief order by id), '[]') from line
            where status = 'unknown' or status = 'authorized' and reached))
$$;

-- The switch that stops this: an engaged one stops everything that it covers, one in drafts whatever is not a read or thought about. Those
-- that stop most come first.
create or replace function private.kill_switch_over(p_tenant uuid, p_workflow uuid, p_connection uuid, p_tool text, p_service_account uuid)
returns app.kill_switches language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select k from app.kill_switches k
    where k.tenant_id = p_tenant and k.status = 'engaged' and (
        k.scope = 'tenant'
        or (k.scope = 'workflow' and k.target = p_workflow::text)
        or (k.scope = 'connection' and k.target = p_connection::text)
        or (k.scope = 'tool' and k.target = p_tool)
        or (k.scope = 'service_account' and k.target = p_service_account::text))
        and (k.stage = 'engaged'
            or k.stage = 'drafts' and p_tool is not null and (private.tool_of(p_tenant, p_tool)).access is distinct from 'read')
    order by k.stage = 'engaged' desc, k.engaged_at limit 1
$$;

-- Whether an action was attempted since a switch is at its stage.
create function private.has_begun(p_action app.actions, p_switch app.kill_switches) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.attempts where tenant_id = p_action.tenant_id and action_id = p_action.id
        and started_at >= p_switch.staged_at)
$$;

-- The switch that lets covered actions happen one at a time, if another one has begun and is not final: it executes, or a retry of it is
-- due, or nobody knows what became of it since the stage began. Of two that have both begun (one of them was requeued) one goes first, or they
-- would wait for each other for ever. p_wait: also waits for whoever is about to begin, until he has committed.
create function private.taking_turns(p_action app.actions, p_wait boolean) returns app.kill_switches
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_switch app.kill_switches;
begin
    for v_switch in
        select * from app.kill_switches k where k.tenant_id = p_action.tenant_id and k.status = 'engaged' and k.stage = 'one_at_a_time'
            and private.covers(k, p_action) order by k.id
    loop
        if p_wait then
            perform pg_advisory_xact_lock(hashtextextended('one_at_a_time' || v_switch.id::text, 20261128));
        end if;
        if exists (select from app.actions a where a.tenant_id = p_action.tenant_id and a.id <> p_action.id
            and a.status in ('executing', 'authorized', 'unknown') and private.covers(v_switch, a)
            and (a.status = 'executing' or private.has_begun(a, v_switch)
                and (a.status = 'unknown' or not private.has_begun(p_action, v_switch) or a.id < p_action.id))) then
            return v_switch;
        end if;
    end loop;
    return null;
end
$$;

-- Whether an action cannot be executed now: its connection is not well, a kill switch covers it, or it takes turns and its turn has not
-- come. It waits outside of the queue.
create or replace function private.is_held_back(p_action app.actions) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.connections where tenant_id = p_action.tenant_id and id = p_action.connection_id
            and status in ('pending', 'degraded'))
        or (private.kill_switch_over(p_action.tenant_id, p_action.workflow_id, p_action.connection_id, p_action.tool,
            case when p_action.proposed_by_kind = 'service' then p_action.proposed_by end)).id is not null
        or (private.taking_turns(p_action, false)).id is not null
$$;

-- A kill switch begins engaged, of something that is there; from then on it goes forward only, each time by a person with a second factor.
create or replace function private.guard_kill_switch() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_stages constant text[] := '{engaged,drafts,one_at_a_time,released}';
begin
    if tg_op = 'INSERT' then
        -- Ids are compared as text: one way to write them, or a switch would cover nothing.
        new.target := case when new.scope = 'tool' then new.target else new.target::uuid::text end;
        if not (case new.scope
            when 'tenant' then new.target = new.tenant_id::text
            when 'workflow' then exists (select from app.workflows where tenant_id = new.tenant_id and id = new.target::uuid)
            when 'connection' then exists (select from app.connections where tenant_id = new.tenant_id and id = new.target::uuid)
            when 'tool' then exists (select from private.tool_catalog where name = new.target)
                or exists (select from app.tenant_tools where tenant_id = new.tenant_id and name = new.target)
            when 'service_account' then exists (select from app.service_accounts where tenant_id = new.tenant_id and id = new.target::uuid)
        end) then
            perform private.fail(422, 'unknown_target', format('There is no %s of this name or id.', new.scope));
        elsif new.stage <> 'engaged' then
            perform private.fail(409, 'invalid_transition', 'A kill switch begins engaged.');
        end if;
        return new;
    elsif tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A kill switch is released, never deleted.');
    end if;
    if old.status = 'released' then
        perform private.fail(409, 'invalid_transition', 'This kill switch is released already.');
    end if;
    -- Status and last stage are one thing: who sets either sets both.
    if 'released' in (new.status, new.stage) then
        new.status := 'released';
        new.stage := 'released';
    end if;
    if array_position(v_stages, new.stage) <= array_position(v_stages, old.stage) then
        perform private.fail(409, 'invalid_transition', format('This kill switch is at %s: it goes forward only. Engage another one to stop again.', old.stage));
    end if;
    v_principal := private.require('kill_switches.release');
    if v_principal.kind <> 'user' or v_principal.aal is distinct from 'aal2' or v_principal.tenant_id <> new.tenant_id
        or v_principal.id is distinct from new.released_by then
        perform private.fail(403, 'people_only', 'Only a person of the tenant releases a kill switch, with a second factor.');
    end if;
    new.staged_at := clock_timestamp();
    return new;
end
$$;

-- Stops something at once. What was claimed and provably not sent ends here and waits again, which uses up no try; what has left is named.
-- Answers the switch with its proof: as of its commit, nothing that it covers starts, and nothing but what is in flight reaches anybody.
-- args: {id, scope, target, reason}
create or replace function app.engage_kill_switch_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('kill_switches.engage');
    v_switch app.kill_switches;
    v_attempt app.attempts;
    v_leased jsonb := '[]';
begin
    -- A key stops itself, and what is in its own environment; a person stops anything.
    if v_principal.environment is not null and not (case p_args ->> 'scope'
        when 'workflow' then exists (select from app.workflows where tenant_id = v_principal.tenant_id
            and id::text = p_args ->> 'target' and environment = v_principal.environment)
        when 'connection' then exists (select from app.connections where tenant_id = v_principal.tenant_id
            and id::text = p_args ->> 'target' and environment = v_principal.environment)
        when 'service_account' then p_args ->> 'target' = v_principal.id::text
        else false end) then
        perform private.fail(403, 'wrong_environment', 'A key stops itself, and workflows and connections of its own environment.');
    end if;
    insert into app.kill_switches (tenant_id, id, scope, target, reason, engaged_by)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, p_args ->> 'scope', p_args ->> 'target', p_args ->> 'reason', v_principal.id)
    returning * into v_switch;
    for v_attempt in
        select t.* from app.attempts t join app.actions a on a.tenant_id = t.tenant_id and a.id = t.action_id
        where t.tenant_id = v_switch.tenant_id and t.status = 'executing' and t.kind = 'executor' and t.sent_at is null
            and private.covers(v_switch, a) order by t.id for update of t
    loop
        -- Whoever holds it is refused the sending: send_attempt_v1 waits for this to commit.
        perform private.take_back(v_attempt, 'A kill switch stopped it before it was sent.');
        v_leased := v_leased || (select jsonb_build_object('action_id', a.id, 'environment', a.environment, 'tool', a.tool,
            'attempt_id', v_attempt.id, 'since', v_attempt.started_at, 'amounts', private.amounts_of(a))
            from app.actions a where a.tenant_id = v_attempt.tenant_id and a.id = v_attempt.action_id);
    end loop;
    insert into app.kill_switch_proofs (tenant_id, id, document, digest, created_at)
    values (v_switch.tenant_id, v_switch.id, jsonb_build_object('leased', v_leased), '', now());
    return private.kill_switch_document(v_switch, true);
end
$$;

-- Releases a kill switch, or takes it a stage further: a person with a second factor, each time. args: {id, reason, stage?: drafts |
-- one_at_a_time | released}; without a stage it is released.
create or replace function app.release_kill_switch_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('kill_switches.release');
    v_switch app.kill_switches;
    v_stage text := coalesce(p_args ->> 'stage', 'released');
begin
    if v_stage not in ('drafts', 'one_at_a_time', 'released') then
        perform private.fail(422, 'unknown_stage', 'A kill switch is released to drafts, one_at_a_time or released.');
    end if;
    update app.kill_switches set stage = v_stage, status = case when v_stage = 'released' then 'released' else status end,
        released_by = v_principal.id, release_reason = p_args ->> 'reason',
        released_at = case when v_stage = 'released' then now() end
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid returning * into v_switch;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such kill switch.');
    end if;
    return private.kill_switch_document(v_switch, true);
end
$$;

-- Everything that the gate decides by beside the proposal and its run, with how far each kill switch is released; kept for each epoch.
create or replace function private.gate_facts(p_tenant uuid, p_workflow app.workflows) returns jsonb
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
            from private.tools_of(p_tenant) t where v_spec -> 'tools' ? t.name),
        'known_tools', (select coalesce(jsonb_object_agg(t.name, jsonb_build_object('version', t.version, 'effect', t.effect)), '{}')
            from private.tools_of(p_tenant) t),
        'connections', (select coalesce(jsonb_object_agg(c.id, jsonb_build_object('provider', c.provider, 'access', c.access,
                'environment', c.environment, 'status', c.status, 'scopes_requested', c.scopes_requested,
                'scopes_granted', c.scopes_granted, 'consent_expires_at', c.consent_expires_at)), '{}')
            from app.connections c where c.tenant_id = p_tenant and c.environment = p_workflow.environment),
        'kill_switches', (select coalesce(jsonb_agg(jsonb_build_object('id', k.id, 'scope', k.scope, 'target', k.target, 'reason', k.reason,
                'stage', k.stage) order by k.id), '[]')
            from app.kill_switches k where k.tenant_id = p_tenant and k.status = 'engaged'),
        'constitution', (select jsonb_build_object('version', version, 'rules', rules)
            from app.constitution_versions where tenant_id = p_tenant order by version desc limit 1),
        'thresholds', private.thresholds_of(p_tenant, p_workflow.id));
    insert into app.gate_facts (tenant_id, workflow_id, epoch, environment, facts)
    values (p_tenant, p_workflow.id, v_epoch, p_workflow.environment, v_facts) on conflict do nothing;
    return v_facts;
end
$$;

select private.guard_table('app.kill_switches');
select private.guard_table('app.kill_switch_proofs');
select private.guard_table('app.actions');
revoke all on all functions in schema app, private from public;
