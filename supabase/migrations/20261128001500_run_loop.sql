-- Runs that are driven here: step by step, each under a lease and written down before the next, so that another instance goes on
-- where one died. What a client drives, the client completes.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('runs.advance', '{}', false, true, false, 'start runs on their triggers and drive them step by step');

-- driven_by: `client` (active until it is completed) or `loop`. trigger_detail: which schedule and slot, or which provider's event.
-- dedupe_key: of one trigger event, so that it never starts two runs. deadline_at: by when the last proposal is made.
alter table app.runs
    add column driven_by text not null default 'client' check (driven_by in ('client', 'loop')),
    add column trigger_detail jsonb check (octet_length(trigger_detail::text) <= 4000),
    add column dedupe_key text check (length(dedupe_key) between 1 and 400),
    add column status_reason text check (length(status_reason) <= 2000),
    add column deadline_at timestamptz,
    add column finished_at timestamptz,
    drop constraint runs_status_check,
    add constraint runs_status_check check (case driven_by when 'client' then status in ('active', 'completed')
        else status in ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled') end);
create unique index runs_once_per_event on app.runs (tenant_id, workflow_id, dedupe_key) where dedupe_key is not null;
create index runs_under_way on app.runs (tenant_id, workflow_id) where status in ('running', 'waiting');
drop trigger runs_keep_columns on app.runs;
create trigger runs_keep_columns before update on app.runs
    for each row execute function private.keep_columns('status', 'status_reason', 'deadline_at', 'finished_at');

-- How many runs of a workflow may be under way at once, as a version says.
create function private.max_concurrent(p_run app.runs) returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce((spec -> 'loop' ->> 'max_concurrent')::integer, 1) from app.workflow_versions
    where tenant_id = p_run.tenant_id and workflow_id = p_run.workflow_id and version = p_run.workflow_version
$$;

-- Whether a queued run may begin; whoever asks holds the workflow's turn, so that two never take the last place.
create function private.run_may_begin(p_run app.runs) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_advisory_xact_lock(hashtextextended(p_run.workflow_id::text, 20261129));
    return (select count(*) from app.runs where tenant_id = p_run.tenant_id and workflow_id = p_run.workflow_id
        and status in ('running', 'waiting')) < private.max_concurrent(p_run);
end
$$;

-- A run begins as active (a client's) or queued, and moves along its machine. Only the scheduled function moves what is driven
-- here, but for cancelling; and never are more of a workflow under way than its version allows.
create or replace function private.run_transition() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
begin
    if tg_op = 'INSERT' then
        if new.status <> (case new.driven_by when 'client' then 'active' else 'queued' end) then
            perform private.fail(409, 'invalid_transition', format('A run cannot begin as %s.', new.status));
        end if;
        return new;
    elsif new.status = old.status then
        return new;
    elsif old.status = 'completed' then
        perform private.fail(409, 'invalid_transition', 'A completed run stays completed.');
    elsif (old.status, new.status) not in (('active', 'completed'), ('queued', 'running'), ('queued', 'failed'), ('queued', 'cancelled'),
        ('running', 'waiting'), ('running', 'completed'), ('running', 'failed'), ('running', 'cancelled'),
        ('waiting', 'completed'), ('waiting', 'cancelled')) then
        perform private.fail(409, 'invalid_transition', format('A run cannot go from %s to %s.', old.status, new.status));
    end if;
    if new.driven_by = 'loop' then
        v_principal := private.require(case when new.status = 'cancelled' then 'runs.write' else 'runs.advance' end);
        if v_principal.tenant_id <> new.tenant_id then
            perform private.fail(403, 'permission_denied', 'The run is another tenant''s.');
        end if;
    end if;
    if old.status = 'queued' and new.status = 'running' and not private.run_may_begin(new) then
        perform private.fail(409, 'too_many_runs', 'As many runs of the workflow are under way as its version allows.');
    end if;
    if new.status in ('completed', 'failed', 'cancelled') then
        new.finished_at := clock_timestamp();
    end if;
    return new;
end
$$;
drop trigger runs_transition on app.runs;
create trigger runs_transition before insert or update on app.runs
    for each row execute function private.run_transition();
drop trigger zz_audit_change on app.runs;
select private.audit_table('app.runs', 'run', 'started',
    'workflow_id workflow_version trigger trigger_detail driven_by subject started_by deadline_at', 'status_reason');

-- When a run is next worked on, and who does: the lease of one instance, and the fence that only it knows. No state of the run,
-- and so no event.
create table private.run_work (
    tenant_id uuid not null,
    run_id uuid not null,
    next_at timestamptz not null default now(),
    lease_expires_at timestamptz,
    fence uuid,
    primary key (tenant_id, run_id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id)
);
create index run_work_due on private.run_work (next_at);
revoke all on private.run_work from public;

-- What was done in a run, in order. `failed` is tried again, as another row; `done` and `skipped` end a step for good.
-- sealed: what was thought, under the run's own key, with its digest; so that it is thought once and proposed as it was.
create table app.run_steps (
    tenant_id uuid not null references app.tenants,
    run_id uuid not null,
    number integer not null check (number > 0),
    environment text not null check (environment in ('sandbox', 'production')),
    name text not null check (name ~ '^(observe:[a-z][a-z0-9_]{0,49}|reason|propose:[0-9]{1,4}|settle)$'),
    outcome text not null check (outcome in ('done', 'failed', 'skipped')),
    detail jsonb not null default '{}' check (jsonb_typeof(detail) = 'object' and octet_length(detail::text) <= 8000),
    sealed text check (length(sealed) <= 2000000),
    digest text,
    observation_id uuid,
    action_id uuid,
    started_at timestamptz not null,
    finished_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, run_id, number),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id),
    foreign key (tenant_id, observation_id) references app.observations (tenant_id, id),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id)
);
create unique index run_steps_once on app.run_steps (tenant_id, run_id, name) where outcome <> 'failed';
create index run_steps_by_observation on app.run_steps (tenant_id, observation_id) where observation_id is not null;
create index run_steps_by_action on app.run_steps (tenant_id, action_id) where action_id is not null;

-- A step is the scheduled function's, of a run that it drives and that is under way.
create function private.guard_run_step() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.advance');
    v_run app.runs;
begin
    select * into v_run from app.runs where tenant_id = new.tenant_id and id = new.run_id for no key update;
    if v_principal.tenant_id <> new.tenant_id then
        perform private.fail(403, 'permission_denied', 'The run is another tenant''s.');
    elsif v_run.driven_by <> 'loop' or v_run.status not in ('running', 'waiting') then
        perform private.fail(409, 'run_not_under_way', 'Steps are taken only in runs that are driven here and under way.');
    end if;
    new.environment := v_run.environment;
    new.number := 1 + (select count(*) from app.run_steps where tenant_id = new.tenant_id and run_id = new.run_id);
    new.finished_at := clock_timestamp();
    return new;
end
$$;
create trigger run_steps_guard before insert on app.run_steps
    for each row execute function private.guard_run_step();
select private.audit_table('app.run_steps', 'run_step', 'taken', 'number name outcome digest observation_id action_id');
select private.append_only('app.run_steps');

alter table app.run_steps enable row level security;
alter table app.run_steps force row level security;
create policy "members read the steps of their tenant's runs of their environment" on app.run_steps for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.run_steps to authenticated;

-- The run that is observed and proposed in, while it is under way. In one that is driven here, the scheduled function alone does.
create or replace function private.active_run(p_principal private.principal, p_run uuid) returns app.runs
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_run app.runs;
begin
    select * into v_run from app.runs where tenant_id = p_principal.tenant_id and id = p_run;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such run.');
    end if;
    perform private.require_environment(p_principal, v_run.environment);
    if v_run.driven_by = 'loop' and p_principal.kind <> 'system' and v_run.status in ('queued', 'running', 'waiting') then
        perform private.fail(409, 'run_driven_here', 'This run is driven by its workflow''s loop; start one of your own to work in.');
    elsif v_run.status not in ('active', 'running') then
        perform private.fail(409, 'run_completed', 'The run is completed.');
    end if;
    return v_run;
end
$$;

-- Takes the lease of a run, and answers all that it takes to go on with it. args: {run_id, fence, lease_seconds}
create function app.claim_run_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.advance');
    v_run app.runs;
    v_work private.run_work;
    v_spec jsonb;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_work from private.run_work where tenant_id = v_principal.tenant_id and run_id = (p_args ->> 'run_id')::uuid
        for update skip locked;
    if not found or v_work.next_at > clock_timestamp() or v_work.lease_expires_at > clock_timestamp() then
        return jsonb_build_object('claimed', false, 'reason', 'not_due');
    end if;
    select * into v_run from app.runs where tenant_id = v_work.tenant_id and id = v_work.run_id for no key update;
    if (private.kill_switch_over(v_run.tenant_id, v_run.workflow_id, null, null, null)).id is not null then
        return jsonb_build_object('claimed', false, 'reason', 'kill_switch');
    end if;
    select spec into v_spec from app.workflow_versions
        where tenant_id = v_run.tenant_id and workflow_id = v_run.workflow_id and version = v_run.workflow_version;
    if v_run.status = 'queued' then
        if not private.run_may_begin(v_run) then
            update private.run_work set next_at = clock_timestamp() + interval '15 seconds' where tenant_id = v_run.tenant_id and run_id = v_run.id;
            return jsonb_build_object('claimed', false, 'reason', 'max_concurrent');
        end if;
        update app.runs set status = 'running',
            deadline_at = clock_timestamp() + make_interval(mins => (v_spec -> 'loop' ->> 'deadline_minutes')::integer)
            where tenant_id = v_run.tenant_id and id = v_run.id returning * into v_run;
    end if;
    update private.run_work set fence = (p_args ->> 'fence')::uuid,
        lease_expires_at = clock_timestamp() + make_interval(secs => (p_args ->> 'lease_seconds')::integer)
        where tenant_id = v_run.tenant_id and run_id = v_run.id;
    return jsonb_build_object('claimed', true, 'tenant_id', v_run.tenant_id, 'run_id', v_run.id, 'status', v_run.status,
        'workflow', (select slug from app.workflows where tenant_id = v_run.tenant_id and id = v_run.workflow_id),
        'workflow_version', v_run.workflow_version, 'loop', v_spec -> 'loop', 'instruction', v_run.instruction, 'subject', v_run.subject,
        'created_at', v_run.created_at, 'deadline_at', v_run.deadline_at, 'now', clock_timestamp(),
        'open', private.has_open_actions(v_run.tenant_id, v_run.id),
        'actions', (select coalesce(jsonb_object_agg(s.status, s.n), '{}') from (
            select status, count(*) as n from app.actions where tenant_id = v_run.tenant_id and run_id = v_run.id group by status) s),
        'steps', (select coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'outcome', s.outcome, 'sealed', s.sealed,
                'observation_id', s.observation_id, 'detail', s.detail) order by s.number), '[]')
            from app.run_steps s where s.tenant_id = v_run.tenant_id and s.run_id = v_run.id),
        'kept', private.run_keys_of(v_run.tenant_id, v_run.id));
end
$$;

-- Writes a step down and says how the run goes on, under its lease. args: {run_id, fence, lease_seconds, step?: {name, outcome, detail?,
-- sealed?, digest?, observation_id?, action_id?, started_at}, status?, reason?, pause_seconds?}. With a pause, or a status that ends
-- the instance's work, the lease is given up.
create function app.take_run_step_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.advance');
    v_work private.run_work;
    v_run app.runs;
    v_step jsonb := nullif(p_args -> 'step', 'null');
    v_status text := p_args ->> 'status';
    v_pause integer := (p_args ->> 'pause_seconds')::integer;
    v_owner text;
begin
    select * into v_work from private.run_work where tenant_id = v_principal.tenant_id and run_id = (p_args ->> 'run_id')::uuid for update;
    if not found or v_work.fence is distinct from (p_args ->> 'fence')::uuid or coalesce(v_work.lease_expires_at <= clock_timestamp(), true) then
        perform private.fail(409, 'lease_lost', 'The lease of this run is over; somebody else goes on with it.');
    end if;
    if v_step is not null then
        insert into app.run_steps (tenant_id, run_id, number, environment, name, outcome, detail, sealed, digest, observation_id, action_id, started_at)
        values (v_work.tenant_id, v_work.run_id, 1, 'sandbox', v_step ->> 'name', v_step ->> 'outcome', coalesce(nullif(v_step -> 'detail', 'null'), '{}'),
            v_step ->> 'sealed', v_step ->> 'digest', (v_step ->> 'observation_id')::uuid, (v_step ->> 'action_id')::uuid,
            (v_step ->> 'started_at')::timestamptz);
    end if;
    if v_status is not null then
        update app.runs set status = v_status, status_reason = left(p_args ->> 'reason', 2000)
            where tenant_id = v_work.tenant_id and id = v_work.run_id returning * into v_run;
    end if;
    if v_status in ('completed', 'failed') then
        delete from private.run_work where tenant_id = v_work.tenant_id and run_id = v_work.run_id;
    elsif v_pause is not null or v_status = 'waiting' then
        update private.run_work set fence = null, lease_expires_at = null,
            next_at = clock_timestamp() + make_interval(secs => coalesce(v_pause, 0))
            where tenant_id = v_work.tenant_id and run_id = v_work.run_id;
    else
        update private.run_work set lease_expires_at = clock_timestamp() + make_interval(secs => (p_args ->> 'lease_seconds')::integer)
            where tenant_id = v_work.tenant_id and run_id = v_work.run_id;
    end if;
    if v_status = 'failed' then
        select spec ->> 'owner' into v_owner from app.workflow_versions
            where tenant_id = v_run.tenant_id and workflow_id = v_run.workflow_id and version = v_run.workflow_version;
        perform private.raise_alert(v_run.tenant_id, v_run.environment, 'run.failed', 'warning', 'run', v_run.id::text,
            format('A run of %s failed: %s', (select slug from app.workflows where tenant_id = v_run.tenant_id and id = v_run.workflow_id),
                p_args ->> 'reason'),
            jsonb_build_object('workflow_id', v_run.workflow_id),
            (select user_id from app.members where tenant_id = v_run.tenant_id and lower(email) = lower(v_owner)), v_owner);
    end if;
    return jsonb_build_object('recorded', true);
end
$$;

-- Ends a run that a client drives; nothing more is observed or proposed in it. args: {id}
create function app.complete_run_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_run app.runs;
begin
    select * into v_run from app.runs where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for no key update;
    if not found or v_run.environment <> coalesce(v_principal.environment, v_run.environment) then
        perform private.fail(404, 'not_found', 'There is no such run.');
    elsif v_run.driven_by = 'loop' then
        perform private.fail(409, 'run_driven_here', 'This run is driven by its workflow''s loop, which completes it.');
    end if;
    update app.runs set status = 'completed' where tenant_id = v_run.tenant_id and id = v_run.id and status = 'active';
    return jsonb_build_object('id', v_run.id, 'status', 'completed');
end
$$;

-- Ends a run that is driven here, between two steps: nothing more is proposed in it. What it has proposed stays as it is.
-- args: {id, reason}
create function app.cancel_run_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_run app.runs;
begin
    -- The work first, as whoever takes a step does, who is waited for.
    perform from private.run_work where tenant_id = v_principal.tenant_id and run_id = (p_args ->> 'id')::uuid for update;
    select * into v_run from app.runs where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for no key update;
    if not found or v_run.environment <> coalesce(v_principal.environment, v_run.environment) then
        perform private.fail(404, 'not_found', 'There is no such run.');
    elsif v_run.driven_by <> 'loop' or v_run.status not in ('queued', 'running', 'waiting', 'cancelled') then
        perform private.fail(409, 'run_not_under_way', format('The run is %s; only what its workflow''s loop drives is cancelled, before it is over.', v_run.status));
    end if;
    update app.runs set status = 'cancelled', status_reason = left(p_args ->> 'reason', 2000)
        where tenant_id = v_run.tenant_id and id = v_run.id and status <> 'cancelled';
    delete from private.run_work where tenant_id = v_run.tenant_id and run_id = v_run.id;
    return jsonb_build_object('id', v_run.id, 'status', 'cancelled');
end
$$;

select private.guard_table('app.runs');
revoke all on all functions in schema app, private from public;
grant execute on function app.claim_run_v1, app.take_run_step_v1, app.complete_run_v1, app.cancel_run_v1 to authenticated;
