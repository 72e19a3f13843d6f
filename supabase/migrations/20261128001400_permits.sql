-- Permits: how the tenant's own client executes what was authorized. An attempt of kind `client` is the permit, so that everything that
-- holds of attempts holds of it: one at a time, of exactly what was approved, and nothing under a kill switch.

-- What a client reported, once per permit. The result itself is not here: its digest is, and what is trusted of it is with the attempt.
create table app.permit_outcomes (
    tenant_id uuid not null references app.tenants,
    id uuid not null,   -- the attempt's: a permit is used once
    environment text not null check (environment in ('sandbox', 'production')),
    action_id uuid not null,
    run_id uuid not null,
    outcome text not null check (outcome in ('succeeded', 'failed', 'unknown')),
    late boolean not null,
    result_digest text check (result_digest ~ '^sha256:[0-9a-f]{64}$'),
    error text check (length(error) <= 2000),
    reported_by_kind text not null check (reported_by_kind in ('user', 'service')),
    reported_by uuid not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, id) references app.attempts (tenant_id, id),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id)
);
create index permit_outcomes_by_action on app.permit_outcomes (tenant_id, action_id);
create index permit_outcomes_by_run on app.permit_outcomes (tenant_id, run_id);

-- Who executes an action outside: the key of the service account that proposed it, in its environment, or a person who may propose.
create function private.require_client(p_principal private.principal, p_action app.actions) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.require_environment(p_principal, p_action.environment);
    if p_principal.kind not in ('user', 'service') or p_principal.tenant_id is distinct from p_action.tenant_id then
        perform private.fail(403, 'permission_denied', 'A permit is for the client that proposed, or for a person.');
    elsif p_principal.kind = 'service' and (p_action.proposed_by_kind, p_action.proposed_by) is distinct from ('service', p_principal.id) then
        perform private.fail(403, 'not_the_proposer', 'A service account executes and reports its own actions only.');
    end if;
end
$$;

-- Who reports is whoever the database sees, and about a permit of the action's own.
create function private.guard_permit_outcome() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
    v_attempt app.attempts;
    v_action app.actions;
begin
    select * into v_attempt from app.attempts where tenant_id = new.tenant_id and id = new.id;
    select * into v_action from app.actions where tenant_id = new.tenant_id and id = v_attempt.action_id;
    if v_attempt.kind is distinct from 'client' or v_attempt.action_id is distinct from new.action_id then
        perform private.fail(409, 'not_a_permit', 'An outcome is reported of a permit, and of its own action.');
    end if;
    perform private.require_client(v_principal, v_action);
    new.environment := v_action.environment;
    new.run_id := v_action.run_id;
    new.reported_by_kind := v_principal.kind;
    new.reported_by := v_principal.id;
    new.created_at := clock_timestamp();
    return new;
end
$$;
create trigger permit_outcomes_guard before insert on app.permit_outcomes
    for each row execute function private.guard_permit_outcome();
select private.audit_table('app.permit_outcomes', 'permit', 'reported', 'outcome late result_digest', 'error');
select private.append_only('app.permit_outcomes');

alter table app.permit_outcomes enable row level security;
alter table app.permit_outcomes force row level security;
create policy "members read what was reported in their environment" on app.permit_outcomes for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.permit_outcomes to authenticated;

-- An attempt begins with its action, and is never deleted. It is the client's if and only if its tool is, lasts 20 minutes at most then,
-- and is not called failed when nobody said so: what was permitted may have been done.
create or replace function private.guard_attempt() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_action app.actions;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'An attempt is never deleted.');
    elsif tg_op = 'INSERT' then
        select * into v_action from app.actions where tenant_id = new.tenant_id and id = new.action_id for update;
        if v_action.status is distinct from 'executing' or new.status <> 'executing' then
            perform private.fail(409, 'not_executing', 'An attempt begins with its action.');
        elsif (new.kind = 'client') is distinct from private.is_external(v_action) then
            perform private.fail(409, 'external_tool', 'A client executes the tools that are its own, and nobody else does.');
        end if;
        if new.kind = 'client' then
            -- From now on the client may act: nobody can stop it any more.
            new.sent_at := clock_timestamp();
            new.lease_expires_at := least(new.lease_expires_at, clock_timestamp() + interval '20 minutes');
        end if;
        new.environment := v_action.environment;
        new.run_id := v_action.run_id;
    elsif old.status <> 'executing' then
        perform private.fail(409, 'attempt_closed', 'The attempt is closed; its lease has passed to somebody else.');
    elsif new.status = 'succeeded' and old.lease_expires_at <= clock_timestamp() then
        perform private.fail(409, 'lease_lost', 'The lease of this attempt is over.');
    elsif old.kind = 'client' and new.status not in ('executing', 'unknown') and not exists (select from app.permit_outcomes
        where tenant_id = old.tenant_id and id = old.id and outcome = new.status) then
        perform private.fail(409, 'not_reported', 'What a client did is as it reports it, or unknown.');
    end if;
    return new;
end
$$;

-- Whether the tenant's own client executes an action, by the contract that it was decided under.
create function private.is_external(p_action app.actions) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select p_action.connection_id is null and exists (select from app.tenant_tools where tenant_id = p_action.tenant_id
        and name = p_action.tool and version = p_action.contract_version and contract -> 'execution' ->> 'mode' = 'external')
$$;

-- What a client may have done is what it was given a permit for. Without one it never happened.
create or replace function private.client_may_have_acted(p_action app.actions) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.attempts where tenant_id = p_action.tenant_id and action_id = p_action.id
        and kind = 'client' and status <> 'failed')
$$;

-- Lets the tenant's own client execute an authorized action, once. What it rests on is looked at again where that of claim_attempt_v1 is
-- (private.look_again): also whether the service account that proposed it has ended, whoever asks for the permit.
-- Answers {claimed, ...} of what the permit says, or {claimed: false, reason, status} when the authorization has ended.
-- args: {action_id, attempt_id, permit_seconds}
create function app.claim_permit_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
    v_action app.actions;
    v_look record;
    v_attempt app.attempts;
    v_seconds integer := least(greatest(coalesce((p_args ->> 'permit_seconds')::integer, 300), 30), 900);
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_action from app.actions
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'action_id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such action.');
    end if;
    perform private.require_client(v_principal, v_action);
    if not private.is_external(v_action) then
        perform private.fail(409, 'not_external', 'Countersign executes this tool itself; no permit is needed.');
    elsif exists (select from app.attempts where tenant_id = v_action.tenant_id and action_id = v_action.id and kind = 'client') then
        perform private.fail(409, 'permit_issued', 'A permit for this action was issued already; repeat that request under its own Idempotency-Key.');
    elsif v_action.status <> 'authorized' then
        perform private.fail(409, 'not_authorized', format('The action is %s; a permit is given for an authorized one.', v_action.status));
    end if;
    v_look := private.look_again(v_action);
    if v_look.ended is not null then
        return private.lapse_action(v_action, v_look.ended);
    elsif v_look.waits = 'kill_switch_engaged' then
        perform private.fail(409, 'kill_switch_engaged', format('A kill switch covers this: %s',
            (private.kill_switch_over(v_action.tenant_id, v_action.workflow_id, v_action.connection_id, v_action.tool,
                case when v_action.proposed_by_kind = 'service' then v_action.proposed_by end)).reason));
    elsif v_look.waits is distinct from 'external' then
        perform private.fail(409, 'not_external', 'Countersign executes this tool itself; no permit is needed.');
    end if;
    -- The guard of actions looks at kill switches once more, and at whose turn it is.
    update app.actions set status = 'executing', next_attempt_at = null, updated_at = now()
        where tenant_id = v_action.tenant_id and id = v_action.id;
    -- The client may begin for as long as the permit is valid, and has two minutes more to say what came of it.
    insert into app.attempts (tenant_id, id, environment, action_id, run_id, number, lease_expires_at, approvals, idempotency_key, kind)
    values (v_action.tenant_id, (p_args ->> 'attempt_id')::uuid, v_action.environment, v_action.id, v_action.run_id, 1,
        now() + make_interval(secs => v_seconds + 120),
        array(select id from app.approvals where tenant_id = v_action.tenant_id and action_id = v_action.id and verdict = 'approve'),
        'cs_' || v_action.id, 'client')
    returning * into v_attempt;
    return jsonb_build_object('claimed', true, 'attempt_id', v_attempt.id, 'action_id', v_action.id, 'tenant_id', v_action.tenant_id,
        'environment', v_action.environment, 'tool', v_action.tool, 'contract_version', v_action.contract_version, 'digest', v_action.digest,
        'args', v_action.payload::jsonb -> 'args', 'idempotency_key', v_attempt.idempotency_key, 'issued_at', v_attempt.started_at,
        'expires_at', v_attempt.started_at + make_interval(secs => v_seconds), 'report_by', v_attempt.lease_expires_at);
end
$$;

-- What became of what a client was permitted. In time it settles the attempt; later it settles only what is unknown, because nobody knows
-- better than who did it. Once per permit. args: {action_id, attempt_id, digest, outcome, error, response, response_digest}
create function app.report_outcome_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
    v_attempt app.attempts;
    v_action app.actions;
    v_outcome text := p_args ->> 'outcome';
    v_late boolean;
    v_settled boolean := true;
begin
    if v_outcome is null or v_outcome not in ('succeeded', 'failed', 'unknown') then
        perform private.fail(422, 'invalid_outcome', 'A client reports succeeded, failed or unknown.');
    end if;
    select * into v_attempt from app.attempts where tenant_id = v_principal.tenant_id and id = (p_args ->> 'attempt_id')::uuid
        and action_id = (p_args ->> 'action_id')::uuid and kind = 'client' for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such permit.');
    end if;
    select * into v_action from app.actions where tenant_id = v_attempt.tenant_id and id = v_attempt.action_id for update;
    perform private.require_client(v_principal, v_action);
    if v_action.digest is distinct from p_args ->> 'digest' then
        perform private.fail(409, 'digest_mismatch', 'The permit is for another payload than the action has.');
    elsif exists (select from app.permit_outcomes where tenant_id = v_attempt.tenant_id and id = v_attempt.id) then
        perform private.fail(409, 'outcome_reported', 'The outcome of this permit was reported already; the first report counts.');
    end if;
    v_late := v_attempt.status <> 'executing' or v_attempt.lease_expires_at <= clock_timestamp();
    insert into app.permit_outcomes (tenant_id, id, environment, action_id, run_id, outcome, late, result_digest, error, reported_by_kind, reported_by)
    values (v_attempt.tenant_id, v_attempt.id, v_action.environment, v_action.id, v_action.run_id, v_outcome, v_late,
        p_args ->> 'response_digest', p_args ->> 'error', v_principal.kind, v_principal.id);
    if v_attempt.status = 'executing' then
        perform private.settle_attempt(v_attempt, case when v_late then private.unreported() else p_args end);
    end if;
    if v_late then
        update app.actions set status = v_outcome, status_reason = 'reported by the client after the deadline', updated_at = now()
            where tenant_id = v_action.tenant_id and id = v_action.id and status = 'unknown' and v_outcome <> 'unknown';
        v_settled := found;
        if v_settled then
            perform private.resolve_alert(v_action.tenant_id, 'permit.unreported', 'action', v_action.id::text, 'The client reported it after the deadline.');
        end if;
    end if;
    return jsonb_build_object('id', v_action.id, 'outcome', v_outcome, 'late', v_late, 'settled', v_settled,
        'status', (select status from app.actions where tenant_id = v_action.tenant_id and id = v_action.id));
end
$$;

-- How an attempt ends of which no client said anything.
create function private.unreported() returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('outcome', 'unknown', 'next_attempt_at', null,
        'error', 'The client had a permit and did not report by the deadline what it did.',
        'response', jsonb_build_object('status', null, 'reached', 'maybe', 'body', null))
$$;

-- Settles an attempt whose function or client went silent. What a client did not report is unknown, whatever its tool could be tried again
-- with, and whoever answers for the workflow is told. args: as private.settle_dead_attempt
create or replace function app.expire_attempt_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_attempt app.attempts;
    v_action app.actions;
    v_answer jsonb;
begin
    select * into v_attempt from app.attempts where tenant_id = v_principal.tenant_id and id = (p_args ->> 'attempt_id')::uuid;
    if v_attempt.kind is distinct from 'client' then
        return private.settle_dead_attempt(p_args);
    end if;
    v_answer := private.settle_dead_attempt(p_args || private.unreported());
    if v_answer ->> 'status' = 'unknown' then
        select * into v_action from app.actions where tenant_id = v_attempt.tenant_id and id = v_attempt.action_id;
        perform private.raise_alert(v_action.tenant_id, v_action.environment, 'permit.unreported', 'critical', 'action', v_action.id::text,
            format('Nobody said what became of %s: look whether it happened, and reconcile it', v_action.tool),
            jsonb_build_object('tool', v_action.tool, 'permit', v_attempt.id, 'report_by', v_attempt.lease_expires_at), null,
            (select spec ->> 'owner' from app.workflow_versions where tenant_id = v_action.tenant_id
                and workflow_id = v_action.workflow_id and version = v_action.workflow_version));
    end if;
    return v_answer;
end
$$;

select private.guard_table('app.attempts');
select private.guard_table('app.actions');
revoke all on all functions in schema app, private from public;
grant execute on function app.claim_permit_v1, app.report_outcome_v1 to authenticated;
