-- Runs and what was observed in them.

create table app.runs (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    workflow_id uuid not null,
    workflow_version integer not null,
    status text not null default 'active' check (status in ('active', 'completed')),
    trigger text not null check (trigger in ('call', 'schedule', 'webhook')),
    instruction text not null check (length(instruction) <= 20000),
    subject jsonb,
    started_by_kind text not null,
    started_by uuid,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, workflow_id, workflow_version) references app.workflow_versions (tenant_id, workflow_id, version)
);
create index runs_by_workflow on app.runs (tenant_id, workflow_id, workflow_version);
create index runs_by_time on app.runs (tenant_id, created_at desc, id desc);

create table app.observations (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null,
    run_id uuid not null,
    tool text not null,
    contract_version integer not null,
    connection_id uuid,
    source text not null check (source in ('gateway', 'client_asserted')),
    status text not null check (status in ('reading', 'succeeded', 'failed')),
    args jsonb not null,
    result jsonb,                 -- minimised to the fields of the access spec
    labels jsonb,                 -- trust and data class of each part of the result
    digest text,                  -- of the result as kept
    error text,
    lease_expires_at timestamptz,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (tenant_id, id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id),
    foreign key (tenant_id, connection_id) references app.connections (tenant_id, id)
);
create index observations_by_run on app.observations (tenant_id, run_id, created_at);
create index observations_by_connection on app.observations (tenant_id, connection_id);

create trigger runs_keep_columns before update on app.runs
    for each row execute function private.keep_columns('status');
create trigger observations_keep_columns before update on app.observations
    for each row execute function private.keep_columns('status', 'result', 'labels', 'digest', 'error', 'finished_at');

create function private.run_transition() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.status <> old.status and old.status = 'completed' then
        perform private.fail(409, 'invalid_transition', 'A completed run stays completed.');
    end if;
    return new;
end
$$;
create trigger runs_transition before update on app.runs
    for each row execute function private.run_transition();

create function private.observation_transition() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if old.status <> 'reading' then
        perform private.fail(409, 'observation_closed', 'The observation is closed.');
    end if;
    return new;
end
$$;
create trigger observations_transition before update on app.observations
    for each row execute function private.observation_transition();
select private.audit_table('app.runs', 'run', 'started', 'workflow_id workflow_version trigger subject started_by');
select private.audit_table('app.observations', 'observation', 'recorded', 'tool contract_version connection_id source digest', 'error');

alter table app.runs enable row level security;
alter table app.runs force row level security;
alter table app.observations enable row level security;
alter table app.observations force row level security;
create policy "members read their tenant's runs of their environment" on app.runs for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
create policy "members read their tenant's observations of their environment" on app.observations for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.runs, app.observations to authenticated;

-- Starts a run of the live version. args: {id, workflow, trigger, instruction, subject}
create function app.start_run_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'workflow');
begin
    if v_workflow.live_version is null then
        perform private.fail(409, 'workflow_not_live', 'The workflow has no live version.');
    end if;
    insert into app.runs (tenant_id, id, environment, workflow_id, workflow_version, trigger, instruction, subject, started_by_kind, started_by)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, v_workflow.environment, v_workflow.id, v_workflow.live_version,
        p_args ->> 'trigger', p_args ->> 'instruction', p_args -> 'subject', v_principal.kind, v_principal.id);
    return jsonb_build_object('id', p_args ->> 'id', 'status', 'active', 'workflow', v_workflow.slug, 'environment', v_workflow.environment,
        'workflow_version', v_workflow.live_version, 'trigger', p_args ->> 'trigger', 'instruction', p_args ->> 'instruction', 'subject', p_args -> 'subject');
end
$$;

create function private.active_run(p_principal private.principal, p_run uuid) returns app.runs
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_run app.runs;
begin
    select * into v_run from app.runs where tenant_id = p_principal.tenant_id and id = p_run;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such run.');
    end if;
    perform private.require_environment(p_principal, v_run.environment);
    if v_run.status <> 'active' then
        perform private.fail(409, 'run_completed', 'The run is completed.');
    end if;
    return v_run;
end
$$;

-- Begins a read through the gateway and releases the read credential for it (invariant 8: only a read tool, only
-- the run's own workflow's read connection, only while nothing covers it with a kill switch).
-- args: {id, run_id, epoch, tool, contract_version, connection_id, args, lease_seconds}
create function app.claim_observation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_run app.runs := private.active_run(v_principal, (p_args ->> 'run_id')::uuid);
    v_connection app.connections;
    v_switch app.kill_switches;
    v_id uuid := (p_args ->> 'id')::uuid;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
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

-- Keeps what was read, minimised and labelled. args: {id, status: succeeded | failed, result, labels, digest, error}
create function app.finish_observation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_row app.observations;
begin
    update app.observations set status = p_args ->> 'status', result = p_args -> 'result', labels = p_args -> 'labels',
        digest = p_args ->> 'digest', error = p_args ->> 'error', finished_at = now()
    where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid
        and environment = coalesce(v_principal.environment, environment)
    returning * into v_row;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such observation.');
    end if;
    return private.observation_document(v_row);
end
$$;

create function private.observation_document(p_row app.observations) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_row.id, 'run_id', p_row.run_id, 'tool', p_row.tool, 'contract_version', p_row.contract_version,
        'source', p_row.source, 'status', p_row.status, 'args', p_row.args, 'result', p_row.result, 'labels', p_row.labels,
        'digest', p_row.digest, 'error', p_row.error, 'created_at', p_row.created_at)
$$;

-- Records what a client read itself; it is marked as such for ever.
-- args: {id, run_id, tool, contract_version, args, result, labels, digest}
create function app.assert_observation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_run app.runs := private.active_run(v_principal, (p_args ->> 'run_id')::uuid);
    v_row app.observations;
begin
    insert into app.observations (tenant_id, id, environment, run_id, tool, contract_version, source, status, args, result, labels, digest, finished_at)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, v_run.environment, v_run.id, p_args ->> 'tool',
        (p_args ->> 'contract_version')::integer, 'client_asserted', 'succeeded', p_args -> 'args', p_args -> 'result',
        p_args -> 'labels', p_args ->> 'digest', now())
    returning * into v_row;
    return private.observation_document(v_row);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.start_run_v1, app.claim_observation_v1, app.finish_observation_v1, app.assert_observation_v1 to authenticated;
