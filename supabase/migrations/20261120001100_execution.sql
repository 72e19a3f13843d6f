-- Execution: attempts, the only door to a write credential, and what becomes of each attempt.

create table app.attempts (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null,
    action_id uuid not null,
    run_id uuid not null,
    number integer not null,
    status text not null default 'executing' check (status in ('executing', 'succeeded', 'failed', 'unknown')),
    fence uuid not null default gen_random_uuid(),   -- whoever finishes must name it
    lease_expires_at timestamptz not null,
    approvals uuid[] not null,                       -- the approvals that this attempt uses
    idempotency_key text not null,
    response jsonb,                                  -- sanitized and bounded; its digest enters the audit log
    response_digest text,
    error text,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (tenant_id, id),
    unique (tenant_id, action_id, number),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id)
);
-- Invariant 7: at most one live attempt.
create unique index attempts_one_live on app.attempts (tenant_id, action_id) where status = 'executing';
create index attempts_expired on app.attempts (lease_expires_at) where status = 'executing';

-- An attempt belongs to an action that is executing, which its own guard lets in. Who holds no lease any more
-- cannot say that it succeeded (invariant 7).
create function private.guard_attempt() returns trigger
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
        end if;
        new.environment := v_action.environment;
        new.run_id := v_action.run_id;
    elsif old.status <> 'executing' then
        perform private.fail(409, 'attempt_closed', 'The attempt is closed; its lease has passed to somebody else.');
    elsif new.status = 'succeeded' and old.lease_expires_at <= clock_timestamp() then
        perform private.fail(409, 'lease_lost', 'The lease of this attempt is over.');
    end if;
    return new;
end
$$;
create trigger attempts_guard before insert or update or delete on app.attempts
    for each row execute function private.guard_attempt();
create trigger attempts_keep_columns before update on app.attempts
    for each row execute function private.keep_columns('status', 'response', 'response_digest', 'error', 'finished_at');
select private.audit_table('app.attempts', 'attempt', 'started', 'number approvals idempotency_key response_digest lease_expires_at', 'error');

alter table app.attempts enable row level security;
alter table app.attempts force row level security;
create policy "members read their tenant's attempts of their environment" on app.attempts for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
-- The fence stays unreadable: it is what tells the holder of a lease from everybody else.
grant select (tenant_id, id, environment, action_id, run_id, number, status, lease_expires_at, approvals, idempotency_key,
    response, response_digest, error, started_at, finished_at) on app.attempts to authenticated;

-- Whether an attempt at this action may have had its effect although nobody saw it succeed.
create function private.may_have_happened(p_action app.actions) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.attempts where tenant_id = p_action.tenant_id and action_id = p_action.id
        and response ->> 'reached' = 'maybe')
$$;

-- Whether something that passes by itself or by a person's hand keeps an authorized action from starting: a kill
-- switch, or a connection that is not well now. Such actions wait outside of the queue and hold nobody up.
create function private.is_held_back(p_action app.actions) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.connections where tenant_id = p_action.tenant_id and id = p_action.connection_id
            and status in ('pending', 'degraded'))
        or (private.kill_switch_over(p_action.tenant_id, p_action.workflow_id, p_action.connection_id, p_action.tool,
            case when p_action.proposed_by_kind = 'service' then p_action.proposed_by end)).id is not null
$$;

-- Work for the executor, of any tenant, as ids: what is authorized and due, and attempts whose lease ran out.
-- Tenants take turns: one with a thousand due actions does not make the others wait.
create function app.claim_due_actions_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(to_jsonb(w)), '[]') from (
        (select a.tenant_id, a.id as action_id, null::uuid as attempt_id from app.actions a
            where a.status = 'authorized' and a.next_attempt_at <= now()
                and (a.expires_at <= now() or not private.is_held_back(a))
            order by row_number() over (partition by a.tenant_id order by a.next_attempt_at), a.next_attempt_at limit p_limit)
        union all
        (select t.tenant_id, t.action_id, t.id from app.attempts t
            where t.status = 'executing' and t.lease_expires_at <= now()
            order by row_number() over (partition by t.tenant_id order by t.lease_expires_at), t.lease_expires_at limit p_limit)) w
$$;

-- Puts an action that could not even be claimed behind the others for a while. args: {action_id, seconds}
create function app.defer_action_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
begin
    update app.actions set next_attempt_at = now() + make_interval(secs => (p_args ->> 'seconds')::integer), updated_at = now()
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'action_id')::uuid
            and status = 'authorized' and next_attempt_at <= now();
    return jsonb_build_object('deferred', found);
end
$$;

-- Ends an authorized action that may not run any more, and says why. What an earlier attempt may have done is `unknown`.
create function private.lapse_action(p_action app.actions, p_reason text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_status text := case when private.may_have_happened(p_action) then 'unknown' else 'expired' end;
begin
    update app.actions set status = v_status, status_reason = p_reason, updated_at = now()
        where tenant_id = p_action.tenant_id and id = p_action.id;
    return jsonb_build_object('claimed', false, 'reason', p_reason, 'status', v_status);
end
$$;

-- The only door to execution. Re-checks approvals, kill switch, workflow and contract version and connection, takes the
-- lease and releases the write credential for this attempt only. Answers {claimed: false, reason} when it may not start.
-- args: {action_id, attempt_id, lease_seconds}
create function app.claim_attempt_v1(p_args jsonb) returns jsonb
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
    select * into v_contract from private.tools_in_force where name = v_action.tool;
    if v_contract.version is distinct from v_action.contract_version then
        return private.lapse_action(v_action, 'the tool has a new contract');
    elsif private.approvals_for(v_action) < greatest(v_action.required_approvals, private.is_hard_gate(v_action.effect)::integer) then
        return private.lapse_action(v_action, 'its approvals have expired');
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

-- Releases a credential that a live attempt or observation already holds, to exchange it for a fresh one; one at a time
-- per connection. Answers {claimed: false} while somebody else does, and {claimed: true, fresh: true} with what somebody
-- else has stored since the generation that the caller holds. args: {connection_id, claimed_for, generation}
create function app.claim_refresh_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_connection app.connections;
    v_for uuid := (p_args ->> 'claimed_for')::uuid;
    v_fresh boolean;
begin
    select c.* into v_connection from app.connections c
        where c.tenant_id = v_principal.tenant_id and c.id = (p_args ->> 'connection_id')::uuid and c.status in ('active', 'degraded')
            and (exists (select from app.attempts t join app.actions a on a.tenant_id = t.tenant_id and a.id = t.action_id
                    where t.tenant_id = c.tenant_id and t.id = v_for and t.status = 'executing' and a.connection_id = c.id
                        and t.lease_expires_at > clock_timestamp())
                or exists (select from app.observations o
                    where o.tenant_id = c.tenant_id and o.id = v_for and o.status = 'reading' and o.connection_id = c.id
                        and o.lease_expires_at > clock_timestamp()));
    if not found then
        perform private.fail(403, 'no_live_claim', 'No live attempt or observation holds this credential.');
    end if;
    select generation <> coalesce((p_args ->> 'generation')::integer, generation) into v_fresh from app.credentials
        where tenant_id = v_connection.tenant_id and connection_id = v_connection.id for update;
    if not v_fresh then
        update app.credentials set refresh_lease_until = now() + interval '30 seconds'
            where tenant_id = v_connection.tenant_id and connection_id = v_connection.id
                and (refresh_lease_until is null or refresh_lease_until < now());
        if not found then
            return jsonb_build_object('claimed', false);
        end if;
    end if;
    return jsonb_build_object('claimed', true, 'fresh', v_fresh, 'credential', private.release_credential(v_connection, 'refresh', v_for,
        (select action_id from app.attempts where tenant_id = v_connection.tenant_id and id = v_for),
        (select run_id from app.observations where tenant_id = v_connection.tenant_id and id = v_for)));
end
$$;

-- A refresh that failed: others may try at once. A final refusal by the provider ends the connection; its tokens are of
-- no use any more and are destroyed. Of no effect when somebody has stored a newer generation meanwhile.
-- args: {connection_id, generation, reason, final}
create function app.fail_refresh_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_credential app.credentials;
begin
    if (p_args ->> 'final')::boolean then
        perform private.lock_tenant(v_principal.tenant_id, true);  -- the connection's end raises the epoch
    end if;
    select * into v_credential from app.credentials where tenant_id = v_principal.tenant_id
        and connection_id = (p_args ->> 'connection_id')::uuid and generation = (p_args ->> 'generation')::integer for update;
    if not found then
        return jsonb_build_object('recorded', false);
    end if;
    update app.credentials set refresh_lease_until = null, updated_at = now(),
        secret_id = case when (p_args ->> 'final')::boolean then null else secret_id end
        where tenant_id = v_credential.tenant_id and connection_id = v_credential.connection_id;
    if (p_args ->> 'final')::boolean then
        delete from vault.secrets where id = v_credential.secret_id;
        update app.connections set status = 'expired', status_reason = p_args ->> 'reason'
            where tenant_id = v_credential.tenant_id and id = v_credential.connection_id and status in ('active', 'degraded');
    end if;
    return jsonb_build_object('connection_id', v_credential.connection_id, 'final', (p_args ->> 'final')::boolean);
end
$$;

-- Records how an attempt ended. A late finisher, whose lease has run out, is refused and changes nothing.
-- args: {attempt_id, fence, outcome: succeeded | retry | failed | unknown | dead_letter, next_attempt_at, response, error}
create function app.finish_attempt_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_attempt app.attempts;
begin
    select * into v_attempt from app.attempts where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'attempt_id')::uuid and fence = (p_args ->> 'fence')::uuid for update;
    if not found or v_attempt.status <> 'executing' or v_attempt.lease_expires_at <= clock_timestamp() then
        perform private.fail(409, 'lease_lost', 'The lease of this attempt is over; its outcome is settled by whoever holds it now.');
    end if;
    return private.settle_attempt(v_attempt, p_args);
end
$$;

-- Settles an attempt whose function died. args: {attempt_id, outcome: retry | unknown | dead_letter, next_attempt_at, error}
create function app.expire_attempt_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_attempt app.attempts;
begin
    select * into v_attempt from app.attempts where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'attempt_id')::uuid for update skip locked;
    if not found or v_attempt.status <> 'executing' or v_attempt.lease_expires_at > now() then
        return jsonb_build_object('recorded', false);
    end if;
    if p_args ->> 'outcome' in ('succeeded', 'failed') then
        perform private.fail(422, 'invalid_outcome', 'What a dead function did is not known to have succeeded or failed.');
    end if;
    return private.settle_attempt(v_attempt, p_args);
end
$$;

create function private.settle_attempt(p_attempt app.attempts, p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_outcome text := p_args ->> 'outcome';
    v_status text := case v_outcome when 'retry' then 'authorized' else v_outcome end;
    v_action app.actions;
begin
    if v_outcome is null or v_outcome not in ('succeeded', 'retry', 'failed', 'unknown', 'dead_letter') then
        perform private.fail(422, 'invalid_outcome', 'An outcome is succeeded, retry, failed, unknown or dead_letter.');
    end if;
    update app.attempts set status = case when v_outcome in ('succeeded', 'unknown') then v_outcome else 'failed' end,
        response = p_args -> 'response', response_digest = p_args ->> 'response_digest', error = p_args ->> 'error', finished_at = now()
        where tenant_id = p_attempt.tenant_id and id = p_attempt.id;
    select * into v_action from app.actions where tenant_id = p_attempt.tenant_id and id = p_attempt.action_id for update;
    -- An approval that ran out while the attempt was under way does not carry a retry.
    if v_status = 'authorized' and private.approvals_for(v_action)
        < greatest(v_action.required_approvals, private.is_hard_gate(v_action.effect)::integer) then
        v_status := case when private.may_have_happened(v_action) then 'unknown' else 'dead_letter' end;
    end if;
    update app.actions set status = v_status, status_reason = p_args ->> 'error',
        next_attempt_at = case when v_status = 'authorized' then coalesce((p_args ->> 'next_attempt_at')::timestamptz, now()) end, updated_at = now()
        where tenant_id = p_attempt.tenant_id and id = p_attempt.action_id;
    return jsonb_build_object('id', p_attempt.action_id, 'status', v_status, 'attempt_id', p_attempt.id);
end
$$;

-- Closes an unknown outcome with what the world shows. args: {id, outcome: succeeded | failed, reason, response}
create function app.reconcile_action_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.reconcile');
    v_action app.actions;
    v_status text := p_args ->> 'outcome';
begin
    select * into v_action from app.actions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such action.');
    elsif v_action.status <> 'unknown' then
        perform private.fail(409, 'not_unknown', format('The action is %s; only an unknown outcome is reconciled.', v_action.status));
    elsif v_status is null or v_status not in ('succeeded', 'failed') then
        perform private.fail(422, 'invalid_outcome', 'An unknown outcome turns out to have succeeded or failed; it is never tried again.');
    end if;
    update app.actions set status = v_status, status_reason = p_args ->> 'reason', updated_at = now()
        where tenant_id = v_action.tenant_id and id = v_action.id;
    return jsonb_build_object('id', v_action.id, 'status', v_status);
end
$$;

-- Takes an action out of the dead-letter queue; its approvals must still hold. args: {id, reason}
create function app.requeue_action_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.requeue');
begin
    update app.actions set status = 'authorized', status_reason = p_args ->> 'reason', next_attempt_at = now(), updated_at = now()
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid and status = 'dead_letter';
    if not found then
        perform private.fail(404, 'not_found', 'There is no such dead letter.');
    end if;
    return jsonb_build_object('id', p_args ->> 'id', 'status', 'authorized');
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_due_actions_v1 to countersign_worker;
grant execute on function app.claim_attempt_v1, app.claim_refresh_v1, app.fail_refresh_v1, app.defer_action_v1,
    app.finish_attempt_v1, app.expire_attempt_v1, app.reconcile_action_v1, app.requeue_action_v1 to authenticated;
