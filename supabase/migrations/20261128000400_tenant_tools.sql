-- A tenant's own tools: contracts that its people register, of tools that its client executes itself. What such a contract
-- says is the tenant's own declaration: it decides what waits for a person, so people register it, at aal2, and a live
-- workflow keeps what its reviewer read. Provider of all of them: `tenant`. Contracts of the catalogue always come first.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('tools.write', '{owner,admin,developer}', false, false, true, 'register tools of the tenant''s own');
alter table private.permissions add constraint tools_are_declared_by_people
    check (permission <> 'tools.write' or (aal2 and not service and not system));

-- As it was; and no manifest takes the name under which the tenants' own tools are known.
create or replace function private.keep_hard_gate() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from private.tool_catalog where name = new.name and private.is_hard_gate(effect)
        and new.effect not in (effect, 'money_movement')) then
        perform private.fail(409, 'hard_gate_lifted', format('%s is a hard gate and stays one; give the new tool a new name.', new.name));
    elsif new.provider = 'tenant' then
        perform private.fail(409, 'name_taken', 'No provider is called tenant: that is what the tenants'' own tools are known as.');
    end if;
    return new;
end
$$;

-- One version of one tool. Never changed; the newest is in force.
create table app.tenant_tools (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    name text not null check (name ~ '^[a-z0-9_]+(\.[a-z0-9_]+){1,3}$' and length(name) <= 120),
    version integer not null check (version > 0),
    access text not null check (access in ('read', 'write')),
    effect text not null check (effect in ('read', 'write', 'outbound_message', 'mass_outbound', 'money_movement', 'pricing',
        'destructive', 'bulk', 'legal', 'employment', 'regulated', 'permission_change', 'credential_change')),
    contract jsonb not null check (jsonb_typeof(contract) = 'object' and octet_length(contract::text) <= 100000),
    digest text not null,          -- of the contract, for the audit log
    registered_by uuid not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, name, version),
    unique (tenant_id, id),
    check ((access = 'read') = (effect = 'read')),
    -- The document that the gate reads says what the columns say that the database reads; and nothing of it is executed here.
    constraint contract_of_row check ((contract ->> 'name', contract ->> 'access', contract ->> 'effect', contract ->> 'provider',
        contract -> 'execution' ->> 'mode', contract ? 'version') is not distinct from (name, access, effect, 'tenant', 'external', false))
);

-- The tool of a name that is in force for a tenant, of the catalogue or its own; nothing when there is none.
create function private.tool_of(p_tenant uuid, p_name text) returns private.tools_in_force
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_tool private.tools_in_force;
begin
    select * into v_tool from private.tools_in_force where name = p_name;
    if not found then
        select name, version, 'tenant', access, effect, contract into v_tool from app.tenant_tools
            where tenant_id = p_tenant and name = p_name order by version desc limit 1;
    end if;
    return v_tool;
end
$$;

-- As it was, and the tenant's own that no tool of the catalogue has taken the name of.
create or replace function private.tools_of(p_tenant uuid)
returns table (name text, version integer, provider text, access text, effect text, contract jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select name, version, provider, access, effect, contract from private.tools_in_force
    union all
    (select distinct on (t.name) t.name, t.version, 'tenant', t.access, t.effect, t.contract from app.tenant_tools t
        where t.tenant_id = p_tenant and not exists (select from private.tool_catalog c where c.name = t.name)
        order by t.name, t.version desc)
$$;

-- Whether somebody relies on what a tool is said to be: a live workflow names it, or one that is being reviewed.
create function private.is_relied_on(p_tenant uuid, p_tool text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.workflow_reviews r
        join app.workflow_versions v on v.tenant_id = r.tenant_id and v.workflow_id = r.workflow_id and v.version = r.version
        where r.tenant_id = p_tenant and r.status in ('live', 'in_review') and v.spec -> 'tools' ? p_tool)
$$;

-- A contract is registered by a person in their own name; it takes no name of the catalogue nor of a provider; a later
-- version lifts no hard gate, and while a workflow relies on the tool it changes nothing that its reviewer went by: it may
-- only take other arguments of the same names, or become a hard gate. Holds for the owner of the table too.
create function private.guard_tenant_tool() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('tools.write');
    v_before app.tenant_tools;
    v_free constant text[] := '{input_schema, read_back}';
begin
    perform private.lock_tenant(new.tenant_id, true);
    if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id or v_principal.id <> new.registered_by then
        perform private.fail(403, 'people_only', 'A tool is registered by a person of the tenant, in their own name.');
    elsif split_part(new.name, '.', 1) = 'tenant'
        or exists (select from private.tool_catalog where split_part(new.name, '.', 1) in (provider, split_part(name, '.', 1))) then
        perform private.fail(409, 'name_taken', format('%s begins like the tools of a provider; choose another name.', new.name));
    end if;
    select * into v_before from app.tenant_tools where tenant_id = new.tenant_id and name = new.name order by version desc limit 1;
    if new.version <> coalesce(v_before.version, 0) + 1 then
        perform private.fail(409, 'version_moved', 'The tool has another version by now; load it again.');
    elsif v_before.version is null and (select count(distinct name) from app.tenant_tools where tenant_id = new.tenant_id) >= 500 then
        perform private.fail(409, 'too_many_tools', 'A tenant has at most 500 tools of its own.');
    elsif exists (select from app.tenant_tools where tenant_id = new.tenant_id and name = new.name and private.is_hard_gate(effect)
        and new.effect not in (effect, 'money_movement')) then
        perform private.fail(409, 'hard_gate_lifted', format('%s is a hard gate and stays one; give the new tool a new name.', new.name));
    elsif v_before.version is not null and private.is_relied_on(new.tenant_id, new.name)
        and (new.contract - v_free || case when private.is_hard_gate(new.effect) then jsonb_build_object('effect', v_before.effect) else '{}' end)
            <> v_before.contract - v_free then
        perform private.fail(409, 'tool_in_use', format('A workflow that is live or in review names %s, so only its input_schema and read_back '
            'may change. Register it under a new name, and have the workflow reviewed with that.', new.name));
    end if;
    new.digest := 'sha256:' || encode(sha256(convert_to(new.contract::text, 'UTF8')), 'hex');
    new.created_at := now();
    return new;
end
$$;
create trigger tenant_tools_guard before insert on app.tenant_tools
    for each row execute function private.guard_tenant_tool();
create trigger tenant_tools_raise_epoch after insert on app.tenant_tools
    for each row execute function private.raise_epoch();
select private.audit_table('app.tenant_tools', 'tool', 'registered', 'name version access effect digest registered_by');
select private.append_only('app.tenant_tools');

alter table app.tenant_tools enable row level security;
alter table app.tenant_tools force row level security;
create policy "members read their tenant's own tools" on app.tenant_tools for select to authenticated
    using (tenant_id = (select private.current_tenant()));
grant select on app.tenant_tools to authenticated;

-- Registers a contract: the next version, or the one in force when it says the same.
-- args: {id, contract: without version}. Answers the contract with its version, origin, and whether it was created.
create function app.register_tool_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('tools.write');
    v_contract jsonb := p_args -> 'contract';
    v_tool app.tenant_tools;
    v_created boolean := false;
begin
    select * into v_tool from app.tenant_tools where tenant_id = v_principal.tenant_id and name = v_contract ->> 'name'
        order by version desc limit 1;
    if v_tool.contract is distinct from v_contract
        or exists (select from private.tool_catalog where name = v_contract ->> 'name') then
        insert into app.tenant_tools (tenant_id, id, name, version, access, effect, contract, digest, registered_by)
        values (v_principal.tenant_id, (p_args ->> 'id')::uuid, v_contract ->> 'name', coalesce(v_tool.version, 0) + 1,
            v_contract ->> 'access', v_contract ->> 'effect', v_contract, '', v_principal.id)
        returning * into v_tool;
        v_created := true;
    end if;
    return v_tool.contract || jsonb_build_object('version', v_tool.version, 'origin', 'tenant', 'created', v_created);
end
$$;

-- As it was, with the tenant's own, and where each comes from. args: {name?}
create or replace function app.list_tools_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('tools.read');
begin
    return (select coalesce(jsonb_agg(t.contract || jsonb_build_object('version', t.version,
            'origin', case when t.provider = 'tenant' then 'tenant' else 'provider' end) order by t.name), '[]')
        from private.tools_of(v_principal.tenant_id) t
        where t.name = coalesce(p_args ->> 'name', t.name));
end
$$;

-- As it was, for tools of the tenant's own too. Those are never executed here, so no executor is told of them; and they
-- are authorized under the contract in force only, as no claim asks for that later.
create or replace function private.guard_action() returns trigger
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
        v_contract := private.tool_of(new.tenant_id, new.tool);
        if v_contract.effect is distinct from new.effect or v_contract.version is distinct from new.contract_version then
            perform private.fail(409, 'contract_moved', 'The action does not name the contract in force and its effect.');
        elsif v_contract.contract -> 'execution' ->> 'mode' = 'external' and new.connection_id is not null then
            perform private.fail(409, 'external_tool', 'The client executes this tool itself; no connection goes with it.');
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
    if new.status in ('authorized', 'executing') and new.connection_id is null then
        v_contract := private.tool_of(new.tenant_id, new.tool);
        if v_contract.contract -> 'execution' ->> 'mode' = 'external' then
            if new.status = 'executing' then
                perform private.fail(409, 'external_tool', 'The client executes this tool itself; it is never executed here.');
            elsif v_contract.version <> new.contract_version and (tg_op = 'INSERT' or old.status <> 'authorized') then
                perform private.fail(409, 'contract_moved', 'The tool has a new contract since; propose it again.');
            end if;
            new.next_attempt_at := null;  -- no executor waits for it
        end if;
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

-- As it was, and a tool of the tenant's own can be stopped.
create or replace function private.guard_kill_switch() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
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
        end if;
        return new;
    elsif tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A kill switch is released, never deleted.');
    end if;
    if old.status = 'released' or new.status <> 'released' then
        perform private.fail(409, 'invalid_transition', 'This kill switch is released already.');
    end if;
    v_principal := private.require('kill_switches.release');
    if v_principal.kind <> 'user' or v_principal.aal is distinct from 'aal2' or v_principal.tenant_id <> new.tenant_id
        or v_principal.id is distinct from new.released_by then
        perform private.fail(403, 'people_only', 'Only a person of the tenant releases a kill switch, with a second factor.');
    end if;
    return new;
end
$$;

-- As it was; and no credential is released for a tool that the client uses itself.
create or replace function app.claim_observation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_run app.runs := private.active_run(v_principal, (p_args ->> 'run_id')::uuid);
    v_connection app.connections;
    v_switch app.kill_switches;
    v_id uuid := (p_args ->> 'id')::uuid;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    if (private.tool_of(v_principal.tenant_id, p_args ->> 'tool')).contract -> 'execution' ->> 'mode' = 'external' then
        perform private.fail(403, 'external_tool', 'The client reads with this tool itself; send its result along.');
    end if;
    if (select control_epoch from app.tenants where tenant_id = v_principal.tenant_id) <> (p_args ->> 'epoch')::bigint then
        return jsonb_build_object('recorded', false, 'reason', 'epoch_moved');
    end if;
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid;
    if not found or v_connection.environment <> v_run.environment or v_connection.access <> 'read'
        or v_connection.id::text is distinct from (select spec -> 'connections' -> v_connection.provider ->> 'read' from app.workflow_versions
            where tenant_id = v_run.tenant_id and workflow_id = v_run.workflow_id and version = v_run.workflow_version) then
        perform private.fail(403, 'connection_not_readable', 'The run''s workflow reads through no such connection.');
    elsif v_connection.status <> 'active' then
        perform private.fail(409, 'connection_not_active', format('The connection is %s.', v_connection.status));
    elsif not exists (select from private.tools_in_force where name = p_args ->> 'tool' and access = 'read'
        and provider = v_connection.provider and version = (p_args ->> 'contract_version')::integer) then
        perform private.fail(403, 'not_a_read_tool', 'Only read tools in force can be observed with.');
    end if;
    v_switch := private.kill_switch_over(v_principal.tenant_id, v_run.workflow_id, v_connection.id, p_args ->> 'tool',
        case when v_principal.kind = 'service' then v_principal.id end);
    if v_switch.id is not null then
        perform private.fail(409, 'kill_switch_engaged', format('A kill switch covers this: %s', v_switch.reason));
    end if;
    insert into app.observations (tenant_id, id, environment, run_id, tool, contract_version, connection_id, source, status, args, lease_expires_at)
    values (v_principal.tenant_id, v_id, v_run.environment, v_run.id, p_args ->> 'tool', (p_args ->> 'contract_version')::integer,
        v_connection.id, 'gateway', 'reading', p_args -> 'args', now() + make_interval(secs => (p_args ->> 'lease_seconds')::integer));
    return jsonb_build_object('id', v_id,
        'credential', private.release_credential(v_connection, 'observation', v_id, null, v_run.id));
end
$$;

-- As it was; what the client executes is not claimed here, but lapses as everything else does.
create or replace function app.claim_attempt_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_action app.actions;
    v_connection app.connections;
    v_contract private.tools_in_force;
    v_switch app.kill_switches;
    v_attempt app.attempts;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_action from app.actions
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'action_id')::uuid for update skip locked;
    if not found or v_action.status <> 'authorized' or v_action.next_attempt_at > now() then
        return jsonb_build_object('claimed', false, 'reason', 'not_due', 'status', v_action.status);
    end if;
    v_switch := private.kill_switch_over(v_action.tenant_id, v_action.workflow_id, v_action.connection_id, v_action.tool,
        case when v_action.proposed_by_kind = 'service' then v_action.proposed_by end);
    if v_action.expires_at <= now() then
        return private.lapse_action(v_action, 'the time to execute it is over');
    elsif v_switch.id is not null then
        return jsonb_build_object('claimed', false, 'reason', 'kill_switch_engaged', 'status', v_action.status);
    elsif v_action.workflow_version is distinct from (select live_version from app.workflows
        where tenant_id = v_action.tenant_id and id = v_action.workflow_id) then
        return private.lapse_action(v_action, 'the workflow has a new version');
    end if;
    v_contract := private.tool_of(v_action.tenant_id, v_action.tool);
    if v_contract.version is distinct from v_action.contract_version then
        return private.lapse_action(v_action, 'the tool has a new contract');
    elsif private.approvals_for(v_action) < greatest(v_action.required_approvals, private.is_hard_gate(v_action.effect)::integer) then
        return private.lapse_action(v_action, 'its approvals have expired');
    end if;
    if v_contract.contract -> 'execution' ->> 'mode' = 'external' then
        return jsonb_build_object('claimed', false, 'reason', 'external', 'status', v_action.status);
    end if;
    select * into v_connection from app.connections where tenant_id = v_action.tenant_id and id = v_action.connection_id;
    if v_connection.id is null or v_connection.environment <> v_action.environment or v_connection.access <> 'write'
        or v_connection.provider <> v_contract.provider then
        return private.lapse_action(v_action, 'it has no connection that may write');
    elsif v_connection.status in ('revoked', 'expired') then
        return private.lapse_action(v_action, format('the connection is %s: %s', v_connection.status, v_connection.status_reason));
    elsif v_connection.status <> 'active' then
        return jsonb_build_object('claimed', false, 'reason', 'connection_not_writable', 'status', v_action.status);
    end if;
    update app.actions set status = 'executing', next_attempt_at = null, updated_at = now()
        where tenant_id = v_action.tenant_id and id = v_action.id;
    insert into app.attempts (tenant_id, id, environment, action_id, run_id, number, lease_expires_at, approvals, idempotency_key)
    values (v_action.tenant_id, (p_args ->> 'attempt_id')::uuid, v_action.environment, v_action.id, v_action.run_id,
        1 + (select count(*) from app.attempts where tenant_id = v_action.tenant_id and action_id = v_action.id),
        now() + make_interval(secs => (p_args ->> 'lease_seconds')::integer),
        array(select id from app.approvals where tenant_id = v_action.tenant_id and action_id = v_action.id and verdict = 'approve'),
        'cs_' || v_action.id)
    returning * into v_attempt;
    return jsonb_build_object('claimed', true, 'attempt_id', v_attempt.id, 'number', v_attempt.number, 'fence', v_attempt.fence,
        'lease_expires_at', v_attempt.lease_expires_at, 'idempotency_key', v_attempt.idempotency_key,
        'action_id', v_action.id, 'tenant_id', v_action.tenant_id, 'environment', v_action.environment, 'run_id', v_action.run_id,
        'args', v_action.payload::jsonb -> 'args', 'digest', v_action.digest,
        -- Whether an earlier attempt may have reached the provider: then only the provider's answer can settle it.
        'maybe_reached', private.may_have_happened(v_action),
        'contract', v_contract.contract || jsonb_build_object('version', v_contract.version),
        'credential', private.release_credential(v_connection, 'attempt', v_attempt.id, v_action.id, v_action.run_id));
end
$$;

-- As it was; and what the client executes itself, once the time for it, its workflow's version or its contract is over.
create or replace function app.claim_due_actions_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(to_jsonb(w)), '[]') from (
        (select a.tenant_id, a.id as action_id, null::uuid as attempt_id from app.actions a
            where a.status = 'authorized' and a.next_attempt_at <= now()
                and (a.expires_at <= now() or not private.is_held_back(a))
            order by row_number() over (partition by a.tenant_id order by a.next_attempt_at), a.next_attempt_at limit p_limit)
        union all
        (select t.tenant_id, t.action_id, t.id from app.attempts t
            where t.status = 'executing' and t.lease_expires_at <= now()
            order by row_number() over (partition by t.tenant_id order by t.lease_expires_at), t.lease_expires_at limit p_limit)
        union all
        (select a.tenant_id, a.id, null::uuid from app.actions a
            join app.workflows f on f.tenant_id = a.tenant_id and f.id = a.workflow_id
            where a.status = 'authorized' and a.next_attempt_at is null and a.connection_id is null
                and (a.expires_at <= now() or a.workflow_version is distinct from f.live_version
                    or a.contract_version is distinct from (private.tool_of(a.tenant_id, a.tool)).version)
            order by row_number() over (partition by a.tenant_id order by a.expires_at), a.expires_at limit p_limit)) w
$$;
create index actions_of_clients on app.actions (expires_at) where status = 'authorized' and next_attempt_at is null and connection_id is null;

-- The tools that a version grants, with what is in force of each for its tenant; `contract` is null for one that is not.
create function private.granted_tools(p_version app.workflow_versions)
returns table (name text, granted jsonb, provider text, effect text, contract jsonb, approvals jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select t.key, t.value, c.provider, c.effect, c.contract,
        coalesce(nullif(t.value -> 'approvals', 'null'), p_version.spec -> 'approvals', '{}')
    from jsonb_each(case when jsonb_typeof(p_version.spec -> 'tools') = 'object' then p_version.spec -> 'tools' else '{}' end) t
    cross join lateral private.tool_of(p_version.tenant_id, t.key) c
$$;

-- Control 1. As it was; and a tool that the client uses itself needs no connection.
create or replace function private.readiness_1(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with tools as (select * from private.granted_tools(p_version))
    select case when count(*) = 0 then 'The spec names no tool.'
            when count(*) > count(contract) then format('Not in force: %s. Take them out, or have them published.',
                string_agg(name, ', ') filter (where contract is null)) end,
        format('All %s tools are named one by one and in force.', count(*)) from tools
    union all
    select 'Granted for another access than they have: ' || string_agg(name, ', ') || '. Correct the spec.',
        'Every tool is granted for the access that its contract has.'
        from tools where contract is not null and granted ->> 'access' is distinct from contract ->> 'access'
    union all
    select 'Name the fields to keep, and not the whole answer, for: ' || string_agg(name, ', ') || '.',
        'Every read names the fields that are kept.'
        from tools where granted ->> 'access' = 'read' and (
            not exists (select from private.text_items(granted -> 'read_fields'))
            or exists (select from private.text_items(granted -> 'read_fields') f where f ~ '^(/\*)*$'))
    union all
    select 'No connection is bound for: ' || string_agg(t.name, ', ') || '.', 'Every tool has its connection.'
        from tools t where contract is not null and contract -> 'execution' ->> 'mode' is distinct from 'external'
            and not exists (select from private.bound_connections(p_version.spec) b where b.provider = t.provider and b.access = t.granted ->> 'access')
    union all
    select 'A write connection is bound and no tool writes through it: ' || string_agg(b.provider, ', ') || '. Take it out.',
        'No write connection is bound without a tool that writes.'
        from private.bound_connections(p_version.spec) b where b.access = 'write' and not exists (
            select from tools t where t.provider = b.provider and t.granted ->> 'access' = 'write')
    union all
    select 'Row-level security is not enabled and forced on: ' || string_agg(c.relname, ', ') || '. Apply the migrations again.',
        'Row-level security is enabled and forced on every table.'
        from pg_class c where c.relnamespace = 'app'::regnamespace and c.relkind in ('r', 'p')
            and not (c.relrowsecurity and c.relforcerowsecurity)
$$;

-- The other controls are as they were, and look for tools where control 1 does: that one call is all that changes in them.
do $$
declare
    v_function regprocedure;
begin
    for v_function in select oid from pg_proc where pronamespace = 'private'::regnamespace
        and prosrc like '%private.granted_tools(p_version.spec)%' loop
        execute replace(pg_get_functiondef(v_function), 'private.granted_tools(p_version.spec)', 'private.granted_tools(p_version)');
    end loop;
end
$$;
drop function private.granted_tools(jsonb);

revoke all on all functions in schema app, private from public;
grant execute on function app.register_tool_v1 to authenticated;
