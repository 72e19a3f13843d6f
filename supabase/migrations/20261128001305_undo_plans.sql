-- Undoing a whole run: a plan whose steps are undos like any other, one after the other, in the name of whoever asked for it.

-- A wish to undo what a whole run wrote: who asked, why, and with which key. Its steps are taken in reverse order of execution,
-- each when the one before it has ended, in the name of whoever asked.
create table app.undo_plans (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    run_id uuid not null,
    status text not null default 'running' check (status in ('running', 'finished')),
    reason text not null check (length(trim(reason)) between 1 and 2000),
    requested_by_kind text not null check (requested_by_kind in ('user', 'service')),
    requested_by uuid not null,
    requested_with uuid,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (tenant_id, id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id),
    check ((status = 'finished') = (finished_at is not null)),
    check ((requested_with is not null) = (requested_by_kind = 'service'))
);
create index undo_plans_by_run on app.undo_plans (tenant_id, run_id, created_at desc);
create unique index undo_plans_one_running on app.undo_plans (tenant_id, run_id) where status = 'running';

-- One write of the run: what became of undoing it. code: `undone`, the status in which its undo ended, or why it was not tried.
create table app.undo_steps (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    environment text not null check (environment in ('sandbox', 'production')),
    plan_id uuid not null,
    position integer not null check (position > 0),
    action_id uuid not null,
    status text not null default 'waiting' check (status in ('waiting', 'proposed', 'settled')),
    undo_id uuid,
    code text check (length(code) between 1 and 100),
    reason text check (length(reason) <= 2000),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, plan_id, position),
    foreign key (tenant_id, plan_id) references app.undo_plans (tenant_id, id),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id),
    foreign key (tenant_id, undo_id) references app.actions (tenant_id, id),
    check ((status = 'settled') = (code is not null)),
    check (status <> 'proposed' or undo_id is not null)
);
create index undo_steps_by_action on app.undo_steps (tenant_id, action_id);
create index undo_steps_by_undo on app.undo_steps (tenant_id, undo_id) where undo_id is not null;

-- A plan and its steps only go forward, and their rows stay.
create function private.guard_undo() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'What was asked to be undone stays on record.');
    elsif (old.status, new.status) not in (('running', 'running'), ('running', 'finished'),
        ('waiting', 'waiting'), ('waiting', 'proposed'), ('waiting', 'settled'), ('proposed', 'proposed'), ('proposed', 'settled')) then
        perform private.fail(409, 'invalid_transition', format('An undo cannot go from %s to %s.', old.status, new.status));
    end if;
    return new;
end
$$;

-- Whoever asks to undo a run asks in their own name, may propose actions, and asks in the run's environment.
create function private.guard_undo_plan() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
begin
    if v_principal.kind not in ('user', 'service') or (v_principal.tenant_id, v_principal.kind, v_principal.id)
        is distinct from (new.tenant_id, new.requested_by_kind, new.requested_by) then
        perform private.fail(403, 'not_the_proposer', 'An undo is asked for in the caller''s own name.');
    elsif new.environment is distinct from (select environment from app.runs where tenant_id = new.tenant_id and id = new.run_id) then
        perform private.fail(409, 'wrong_environment', 'The undo is in the environment of its run.');
    end if;
    perform private.require_environment(v_principal, new.environment);
    new.requested_with := v_principal.key_id;
    new.status := 'running';
    return new;
end
$$;
create trigger undo_plans_guard before update or delete on app.undo_plans
    for each row execute function private.guard_undo();
create trigger undo_plans_guard_asker before insert on app.undo_plans
    for each row execute function private.guard_undo_plan();
create trigger undo_plans_keep_columns before update on app.undo_plans
    for each row execute function private.keep_columns('status', 'finished_at');

-- A step undoes a write of its plan's own run.
create function private.guard_undo_step() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from app.undo_plans p join app.actions a on a.tenant_id = p.tenant_id and a.run_id = p.run_id
        where p.tenant_id = new.tenant_id and p.id = new.plan_id and a.id = new.action_id
            and a.environment = new.environment and p.environment = new.environment) then
        perform private.fail(409, 'undo_elsewhere', 'A step undoes an action of the run that is undone.');
    end if;
    return new;
end
$$;
create trigger undo_steps_guard before update or delete on app.undo_steps
    for each row execute function private.guard_undo();
create trigger undo_steps_guard_run before insert on app.undo_steps
    for each row execute function private.guard_undo_step();
create trigger undo_steps_keep_columns before update on app.undo_steps
    for each row execute function private.keep_columns('status', 'undo_id', 'code', 'reason', 'updated_at');
select private.audit_table('app.undo_plans', 'undo_plan', 'requested', 'requested_by_kind requested_by requested_with', 'reason');
select private.audit_table('app.undo_steps', 'undo_step', 'planned', 'plan_id position undo_id code', 'reason');

alter table app.undo_plans enable row level security;
alter table app.undo_plans force row level security;
alter table app.undo_steps enable row level security;
alter table app.undo_steps force row level security;
create policy "members read their tenant's undo plans of their environment" on app.undo_plans for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
create policy "members read their tenant's undo steps of their environment" on app.undo_steps for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.undo_plans, app.undo_steps to authenticated;

-- Whether whoever asked may still propose: a person who has left, or a key that was revoked, has nothing undone any more.
create function private.may_still_propose(p_plan app.undo_plans) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select case p_plan.requested_by_kind
        when 'user' then exists (select from app.members m join private.permissions p on p.permission = 'actions.propose' and m.role = any (p.roles)
            where m.tenant_id = p_plan.tenant_id and m.user_id = p_plan.requested_by)
        else exists (select from app.api_keys k join app.service_accounts s on s.tenant_id = k.tenant_id and s.id = k.service_account_id
            where k.tenant_id = p_plan.tenant_id and k.id = p_plan.requested_with and k.revoked_at is null and k.expires_at > clock_timestamp()
                and s.disabled_at is null and 'actions.propose' = any (k.scopes)) end
$$;

-- An action is proposed or edited in the caller's own name. One that is proposed again keeps the name in which it was proposed; the steps
-- of a plan are proposed in the name of whoever asked for it, while he may propose.
create or replace function private.guard_proposer() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.current_principal();
    v_plan app.undo_plans;
    v_proposer record;
begin
    if new.supersedes is null and new.compensates is not null and v_principal.kind = 'system' then
        select p.* into v_plan from app.undo_plans p join app.undo_steps s on s.tenant_id = p.tenant_id and s.plan_id = p.id
            where p.tenant_id = new.tenant_id and p.status = 'running' and s.action_id = new.compensates and s.status = 'waiting'
                and private.may_still_propose(p);
        v_proposer := row(v_plan.requested_by_kind, v_plan.requested_by, null::uuid);
        new.proposed_with := v_plan.requested_with;
    elsif new.supersedes is null then
        v_proposer := row(v_principal.kind, v_principal.id, null::uuid);
        new.proposed_with := v_principal.key_id;
    elsif new.moved is not null then
        -- The same payload of the same proposer, decided anew: by the executor, or by a person who requeues it.
        select proposed_by_kind, proposed_by, edited_by into v_proposer from app.actions
            where tenant_id = new.tenant_id and id = new.supersedes and status = 'superseded' and tool = new.tool
                and payload::jsonb -> 'args' = new.payload::jsonb -> 'args' and v_principal.kind in ('system', 'user');
        select proposed_with into new.proposed_with from app.actions where tenant_id = new.tenant_id and id = new.supersedes;
    else
        select proposed_by_kind, proposed_by, v_principal.id into v_proposer from app.actions
            where tenant_id = new.tenant_id and id = new.supersedes and status = 'superseded' and v_principal.kind = 'user';
        select proposed_with into new.proposed_with from app.actions where tenant_id = new.tenant_id and id = new.supersedes;
    end if;
    if v_principal.tenant_id is distinct from new.tenant_id
        or v_proposer is distinct from row(new.proposed_by_kind, new.proposed_by, new.edited_by) then
        perform private.fail(403, 'not_the_proposer', 'An action is proposed or edited in the caller''s own name.');
    end if;
    perform private.require_environment(v_principal, new.environment);
    return new;
end
$$;

-- Records the undo of an action with the decision on it, as record_action_v1 does; also in a run that is completed. With a plan it
-- is that plan's next step, proposed in the name of whoever asked for the plan. args: {action_id, plan_id?, action: as record_action_v1}
create function app.compensate_action_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
    v_proposer private.principal := v_principal;
    v_done app.actions;
    v_run app.runs;
    v_plan app.undo_plans;
    v_step app.undo_steps;
    v_answer jsonb;
begin
    select * into v_done from app.actions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'action_id')::uuid;
    if not found or v_done.environment is distinct from coalesce(v_principal.environment, v_done.environment) then
        perform private.fail(404, 'not_found', 'There is no such action.');
    elsif v_principal.kind = 'system' then
        select * into v_plan from app.undo_plans where tenant_id = v_done.tenant_id and id = (p_args ->> 'plan_id')::uuid
            and status = 'running' for update;
        select * into v_step from app.undo_steps where tenant_id = v_done.tenant_id and plan_id = v_plan.id and action_id = v_done.id
            and status = 'waiting' for update;
        if not found then
            perform private.fail(409, 'step_settled', 'No plan waits for this step.');
        elsif not private.may_still_propose(v_plan) then
            perform private.fail(403, 'asker_gone', 'Whoever asked for this may not propose actions any more.');
        end if;
        v_proposer.kind := v_plan.requested_by_kind;
        v_proposer.id := v_plan.requested_by;
    end if;
    select * into v_run from app.runs where tenant_id = v_done.tenant_id and id = v_done.run_id;
    v_answer := private.stale_answer(v_principal, v_run, p_args -> 'action', null);
    if v_answer is not null then
        return v_answer;
    end if;
    v_answer := private.insert_action(v_proposer, v_run, p_args -> 'action' || jsonb_build_object('compensates', v_done.id), null, null);
    update app.undo_steps set status = 'proposed', undo_id = (v_answer ->> 'id')::uuid, updated_at = now()
        where tenant_id = v_step.tenant_id and id = v_step.id;
    return v_answer || jsonb_build_object('compensates', v_done.id);
end
$$;

-- Plans to undo what a run wrote, the last write first. Nothing is proposed yet. args: {id, run_id, reason}
create function app.undo_run_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
    v_run app.runs;
    v_running uuid;
begin
    if v_principal.kind = 'system' then
        perform private.fail(403, 'permission_denied', 'A person or a key asks for a run to be undone.');
    end if;
    select * into v_run from app.runs where tenant_id = v_principal.tenant_id and id = (p_args ->> 'run_id')::uuid for no key update;
    if not found or v_run.environment is distinct from coalesce(v_principal.environment, v_run.environment) then
        perform private.fail(404, 'not_found', 'There is no such run.');
    end if;
    select id into v_running from app.undo_plans where tenant_id = v_run.tenant_id and run_id = v_run.id and status = 'running';
    if found then
        perform private.fail(409, 'undo_under_way', format('The run is being undone already, by the plan %s.', v_running));
    end if;
    insert into app.undo_plans (tenant_id, id, environment, run_id, reason, requested_by_kind, requested_by, requested_with)
    values (v_run.tenant_id, (p_args ->> 'id')::uuid, v_run.environment, v_run.id, p_args ->> 'reason', v_principal.kind, v_principal.id, v_principal.key_id);
    insert into app.undo_steps (tenant_id, environment, plan_id, position, action_id)
    select v_run.tenant_id, v_run.environment, (p_args ->> 'id')::uuid, row_number() over (order by e.at desc, a.created_at desc, a.id desc), a.id
    from app.actions a cross join lateral (select coalesce(max(coalesce(t.finished_at, t.started_at)), a.updated_at) as at
        from app.attempts t where t.tenant_id = a.tenant_id and t.action_id = a.id) e
    where a.tenant_id = v_run.tenant_id and a.run_id = v_run.id and a.compensates is null
        and a.status in ('succeeded', 'unknown', 'executing', 'authorized', 'awaiting_approval');
    return jsonb_build_object('id', p_args ->> 'id', 'run_id', v_run.id, 'status', 'running', 'tenant_id', v_run.tenant_id);
end
$$;

-- What a plan does next: {state: next, action_id, asked: {kind, id}, reason} is to be proposed; {state: waiting, undo_id} is under
-- way; {state: finished}. Closes every step before it that has ended, or that cannot be taken. args: {plan_id}
create function app.advance_undo_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_plan app.undo_plans;
    v_step app.undo_steps;
    v_done app.actions;
    v_undo app.actions;
    v_code text;
    v_reason text;
begin
    select * into v_plan from app.undo_plans where tenant_id = v_principal.tenant_id and id = (p_args ->> 'plan_id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such plan.');
    elsif v_plan.status = 'finished' then
        return jsonb_build_object('state', 'finished');
    end if;
    for v_step in select * from app.undo_steps where tenant_id = v_plan.tenant_id and plan_id = v_plan.id and status <> 'settled'
        order by position for update loop
        select * into v_done from app.actions where tenant_id = v_step.tenant_id and id = v_step.action_id;
        if v_step.status = 'proposed' then
            -- The newest is the one that counts: an edited undo takes the place of the one that was proposed.
            select * into v_undo from app.actions where tenant_id = v_step.tenant_id and compensates = v_step.action_id
                and status <> 'superseded' order by created_at desc, id desc limit 1;
        else
            v_undo := private.standing_undo(v_step.tenant_id, v_step.action_id);
        end if;
        if v_undo.status in ('awaiting_approval', 'authorized', 'executing', 'unknown', 'dead_letter') then
            update app.undo_steps set status = 'proposed', undo_id = v_undo.id, updated_at = now()
                where tenant_id = v_step.tenant_id and id = v_step.id and undo_id is distinct from v_undo.id;
            return jsonb_build_object('state', 'waiting', 'undo_id', v_undo.id, 'status', v_undo.status);
        end if;
        v_code := case when v_undo.status = 'succeeded' then case v_step.status when 'proposed' then 'undone' else 'undone_already' end
            when v_undo.id is not null then v_undo.status
            when v_done.status = 'unknown' then 'outcome_unknown'
            when v_done.status <> 'succeeded' then 'not_done' end;
        v_reason := case v_code when 'undone' then null
            when 'undone_already' then format('It was undone already, by the action %s.', v_undo.id)
            when 'outcome_unknown' then 'Whether it happened is not known: reconcile it first, then undo it.'
            when 'not_done' then format('It is %s, so there is nothing to undo yet; cancel it if it must not happen.', v_done.status)
            else format('The undo was %s: %s', v_undo.status, coalesce(v_undo.status_reason, 'see its decision')) end;
        if v_code is null then
            return jsonb_build_object('state', 'next', 'action_id', v_step.action_id, 'reason', v_plan.reason, 'plan_id', v_plan.id,
                'asked', jsonb_build_object('kind', v_plan.requested_by_kind, 'id', v_plan.requested_by));
        end if;
        update app.undo_steps set status = 'settled', undo_id = coalesce(v_undo.id, undo_id), code = v_code, reason = left(v_reason, 2000), updated_at = now()
            where tenant_id = v_step.tenant_id and id = v_step.id;
    end loop;
    update app.undo_plans set status = 'finished', finished_at = now() where tenant_id = v_plan.tenant_id and id = v_plan.id;
    return jsonb_build_object('state', 'finished');
end
$$;

-- Closes a step that cannot be taken, and says why. args: {plan_id, action_id, code, reason}
create function app.settle_undo_step_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
begin
    perform from app.undo_plans where tenant_id = v_principal.tenant_id and id = (p_args ->> 'plan_id')::uuid and status = 'running' for update;
    update app.undo_steps set status = 'settled', code = p_args ->> 'code', reason = left(p_args ->> 'reason', 2000), updated_at = now()
        where tenant_id = v_principal.tenant_id and plan_id = (p_args ->> 'plan_id')::uuid and action_id = (p_args ->> 'action_id')::uuid
            and status = 'waiting';
    return jsonb_build_object('settled', found);
end
$$;

-- Plans of any tenant that can go on, as ids: none of their undos is under way. In no certain order, so that one that always breaks
-- holds nobody up.
create function app.claim_due_undo_plans_v1(p_limit integer) returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(to_jsonb(w)), '[]') from (
        select p.tenant_id, p.id as plan_id from app.undo_plans p
        where p.status = 'running' and not exists (select from app.undo_steps s
            join app.actions u on u.tenant_id = s.tenant_id and u.compensates = s.action_id
            where s.tenant_id = p.tenant_id and s.plan_id = p.id and s.status = 'proposed'
                and u.status in ('awaiting_approval', 'authorized', 'executing', 'unknown', 'dead_letter'))
        order by random() limit p_limit) w
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.compensate_action_v1, app.undo_run_v1, app.advance_undo_v1,
    app.settle_undo_step_v1 to authenticated;
grant execute on function app.claim_due_undo_plans_v1 to countersign_worker;
