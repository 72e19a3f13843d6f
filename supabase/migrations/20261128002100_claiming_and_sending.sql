-- Claiming an attempt and sending it. What was decided has to hold at the moment when a request leaves, and not only when its attempt was
-- claimed; and what was put off before it was sent uses up no try.

-- put_off: ended before it was sent, for a reason that passes by itself: a kill switch, a limit, a circuit, a connection that is not well.
alter table app.attempts
    add column put_off boolean not null default false,
    add constraint put_off_unsent check (not put_off or status = 'failed' and sent_at is null and kind = 'executor');
-- Its guards watch every column but `erased_at`, which has one of its own (private.erase_content). When an attempt was sent, what was sent,
-- and whether it was put off, is written as it goes on.
do $$
declare
    v_columns text;
    v_trigger record;
begin
    select string_agg(quote_ident(attname), ', ' order by attnum) into v_columns from pg_attribute
        where attrelid = 'app.attempts'::regclass and attnum > 0 and not attisdropped and attname <> 'erased_at';
    for v_trigger in select * from (values ('attempts_guard', 'insert or delete or', 'private.guard_attempt()'),
        ('attempts_keep_columns', '', $f$private.keep_columns('status', 'response', 'response_digest', 'error', 'finished_at', 'sent_at',
            'request', 'put_off')$f$)) as t (name, also, does)
    loop
        execute format('drop trigger %I on app.attempts', v_trigger.name);
        execute format('create trigger %I before %s update of %s on app.attempts for each row execute function %s',
            v_trigger.name, v_trigger.also, v_columns, v_trigger.does);
    end loop;
end
$$;
grant select (put_off) on app.attempts to authenticated;

-- How many tries an action has used, since it was last requeued.
create function private.tries_of(p_action app.actions) returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select count(*)::integer from app.attempts where tenant_id = p_action.tenant_id and action_id = p_action.id
        and not put_off and number > private.attempts_before(p_action.tenant_id, p_action.id)
$$;

-- Whether the newest attempt at an action is over and was provably never sent.
create function private.was_not_sent(p_action app.actions) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce((select kind = 'executor' and status = 'failed' and sent_at is null from app.attempts
        where tenant_id = p_action.tenant_id and action_id = p_action.id order by number desc limit 1), false)
        and not private.may_have_happened(p_action)
$$;

-- What an authorization rests on, looked at now. ended: why it is over for good; waits: the code of what passes; both null: it may go on.
-- The one place of these conditions: whoever claims asks, and again whoever sends, the owner of the tables included.
create function private.look_again(p_action app.actions, out contract private.tools_in_force, out connection app.connections,
    out ended text, out waits text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_action.expires_at <= clock_timestamp() then
        ended := 'the time to execute it is over';
        return;
    elsif (private.kill_switch_over(p_action.tenant_id, p_action.workflow_id, p_action.connection_id, p_action.tool,
            case when p_action.proposed_by_kind = 'service' then p_action.proposed_by end)).id is not null then
        waits := 'kill_switch_engaged';
        return;
    elsif p_action.workflow_version is distinct from (select live_version from app.workflows
        where tenant_id = p_action.tenant_id and id = p_action.workflow_id) then
        ended := 'the workflow has a new version';
        return;
    elsif p_action.proposed_by_kind = 'service' and exists (select from app.service_accounts
        where tenant_id = p_action.tenant_id and id = p_action.proposed_by and disabled_at is not null) then
        ended := 'the service account that proposed it has ended';
        return;
    end if;
    contract := private.tool_of(p_action.tenant_id, p_action.tool);
    if contract.version is distinct from p_action.contract_version then
        ended := 'the tool has a new contract';
        return;
    elsif private.approvals_for(p_action) < greatest(p_action.required_approvals, private.is_hard_gate(p_action.effect)::integer) then
        ended := 'its approvals have expired';
        return;
    elsif contract.contract -> 'execution' ->> 'mode' = 'external' then
        waits := 'external';
        return;
    end if;
    select * into connection from app.connections where tenant_id = p_action.tenant_id and id = p_action.connection_id;
    if connection.id is null or connection.environment <> p_action.environment or connection.access <> 'write'
        or connection.provider <> contract.provider then
        ended := 'it has no connection that may write';
    elsif connection.status in ('revoked', 'expired') then
        ended := format('the connection is %s: %s', connection.status, connection.status_reason);
    elsif connection.status <> 'active' then
        waits := 'connection_not_writable';
    end if;
end
$$;

-- Whether nothing is read between the claim of an attempt and its call. Where something is, the call has to be asked for.
create function private.sends_at_once(p_contract jsonb) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select not (p_contract ? 'state' or p_contract ? 'rests_on' or coalesce((p_contract -> 'read_back' ->> 'before_write')::boolean, false))
$$;

-- Begins an attempt at an action whose turn it is. Answers {claimed, ...} with all that it takes to make the call, its credential, and
-- {tries}: which try this is since it was last requeued; or {claimed: false, reason, status}. args: {action_id, attempt_id, lease_seconds}
create function private.claim_in_turn(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_action app.actions;
    v_connection app.connections;
    v_contract private.tools_in_force;
    v_look record;
    v_attempt app.attempts;
    v_hold jsonb;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_action from app.actions
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'action_id')::uuid for update skip locked;
    if not found or v_action.status <> 'authorized' or v_action.next_attempt_at > now() then
        return jsonb_build_object('claimed', false, 'reason', 'not_due', 'status', v_action.status);
    end if;
    v_look := private.look_again(v_action);
    if v_look.ended is not null then
        return private.lapse_action(v_action, v_look.ended);
    elsif v_look.waits is not null then
        return jsonb_build_object('claimed', false, 'reason', v_look.waits, 'status', v_action.status);
    end if;
    v_contract := v_look.contract;
    v_connection := v_look.connection;
    v_hold := private.admit_call(v_connection, v_action.tool);
    if v_hold is not null then
        perform private.hand_out(v_action.tenant_id, v_action.id, least((v_hold ->> 'until')::timestamptz, now() + interval '1 hour'));
        return jsonb_build_object('claimed', false, 'reason', v_hold ->> 'reason', 'until', v_hold ->> 'until', 'status', v_action.status);
    end if;
    delete from private.handouts where tenant_id = v_action.tenant_id and id = v_action.id;
    update app.actions set status = 'executing', next_attempt_at = null, updated_at = now()
        where tenant_id = v_action.tenant_id and id = v_action.id;
    insert into app.attempts (tenant_id, id, environment, action_id, run_id, number, lease_expires_at, approvals, idempotency_key, sent_at)
    values (v_action.tenant_id, (p_args ->> 'attempt_id')::uuid, v_action.environment, v_action.id, v_action.run_id,
        1 + (select count(*) from app.attempts where tenant_id = v_action.tenant_id and action_id = v_action.id),
        now() + make_interval(secs => (p_args ->> 'lease_seconds')::integer),
        array(select id from app.approvals where tenant_id = v_action.tenant_id and action_id = v_action.id and verdict = 'approve'),
        'cs_' || v_action.id,
        case when private.sends_at_once(v_contract.contract) then clock_timestamp() end)
    returning * into v_attempt;
    return jsonb_build_object('claimed', true, 'attempt_id', v_attempt.id, 'number', v_attempt.number, 'fence', v_attempt.fence,
        'lease_expires_at', v_attempt.lease_expires_at, 'idempotency_key', v_attempt.idempotency_key,
        'action_id', v_action.id, 'tenant_id', v_action.tenant_id, 'environment', v_action.environment, 'run_id', v_action.run_id,
        'args', v_action.payload::jsonb -> 'args', 'digest', v_action.digest, 'workflow_id', v_action.workflow_id,
        'observed', (select d.basis -> 'observed' from app.decisions d where d.tenant_id = v_action.tenant_id and d.action_id = v_action.id),
        'sent', v_attempt.sent_at is not null, 'tries', private.tries_of(v_action),
        -- Whether an earlier attempt may have reached the provider: then only the provider's answer can settle it.
        'maybe_reached', private.may_have_happened(v_action),
        'contract', v_contract.contract || jsonb_build_object('version', v_contract.version),
        'credential', private.release_credential(v_connection, 'attempt', v_attempt.id, v_action.id, v_action.run_id));
end
$$;

-- The door to execution, behind a look at whose turn it is. Whoever is refused because of a kill switch gives back what it was handed:
-- private.is_held_back keeps it from being handed out, and when that ends it is due at once. So does whoever finds that it is not due, or that
-- somebody else has it in hand (the request that approved it executes it at once, perhaps just when the schedule was handed it): should that
-- attempt fail and be tried again, the retry would otherwise wait until 45 seconds after the handout. A claim takes the row first, so nothing
-- is done twice. args: as private.claim_in_turn
create or replace function app.claim_attempt_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_action app.actions;
    v_answer jsonb;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_action from app.actions
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'action_id')::uuid for update skip locked;
    if v_action.status = 'authorized' and v_action.expires_at > now() and (private.taking_turns(v_action, true)).id is not null then
        v_answer := jsonb_build_object('claimed', false, 'reason', 'one_at_a_time', 'status', v_action.status);
    else
        v_answer := private.claim_in_turn(p_args);
    end if;
    if v_answer ->> 'reason' in ('one_at_a_time', 'kill_switch_engaged', 'not_due') then
        delete from private.handouts where tenant_id = v_principal.tenant_id and id = (p_args ->> 'action_id')::uuid;
    end if;
    return v_answer;
end
$$;

-- Ends an attempt that was claimed and not sent, for what passes: its action waits again.
create function private.take_back(p_attempt app.attempts, p_why text) returns jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select private.settle_attempt(p_attempt, jsonb_build_object('outcome', 'retry', 'put_off', true, 'error', p_why,
        'response', jsonb_build_object('status', null, 'reached', 'no', 'body', null)))
$$;

-- Ends an attempt that was claimed and not sent, because its authorization has ended since: its action ends as it would have at the claim.
create function private.lapse_attempt(p_attempt app.attempts, p_action app.actions, p_why text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_answer jsonb;
begin
    update app.attempts set status = 'failed', put_off = true, error = format('Nothing was sent: %s.', p_why), finished_at = now(),
        response = jsonb_build_object('status', null, 'reached', 'no', 'body', null)
        where tenant_id = p_attempt.tenant_id and id = p_attempt.id;
    v_answer := private.lapse_action(p_action, p_why);
    -- What an earlier attempt may have done is looked up, and not tried again whatever is found.
    update private.lookups set ended = true where tenant_id = p_action.tenant_id and action_id = p_action.id;
    return jsonb_build_object('id', p_action.id, 'attempt_id', p_attempt.id, 'status', v_answer ->> 'status', 'reason', p_why);
end
$$;

-- The last look before an attempt that was prepared is sent: its lease runs, and everything that its claim looked at holds still. From
-- here on it is in flight. Answers {sent}; when it was stopped, also the action's status and why, and the attempt is over.
-- args: {attempt_id, fence}
create function app.send_attempt_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_attempt app.attempts;
    v_action app.actions;
    v_look record;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_attempt from app.attempts where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'attempt_id')::uuid and fence = (p_args ->> 'fence')::uuid for update;
    if not found or v_attempt.status <> 'executing' or v_attempt.lease_expires_at <= clock_timestamp() then
        perform private.fail(409, 'lease_lost', 'The lease of this attempt is over; its outcome is settled by whoever holds it now.');
    elsif v_attempt.sent_at is not null then
        return jsonb_build_object('sent', true);
    end if;
    select * into v_action from app.actions where tenant_id = v_attempt.tenant_id and id = v_attempt.action_id for update;
    v_look := private.look_again(v_action);
    if v_look.ended is not null then
        return private.lapse_attempt(v_attempt, v_action, v_look.ended) || jsonb_build_object('sent', false);
    elsif v_look.waits is not null then
        return private.take_back(v_attempt, case v_look.waits when 'kill_switch_engaged' then 'A kill switch stopped it before it was sent.'
            else 'Its connection is not well; nothing was sent.' end) || jsonb_build_object('sent', false, 'reason', v_look.waits);
    end if;
    update app.attempts set sent_at = clock_timestamp() where tenant_id = v_attempt.tenant_id and id = v_attempt.id;
    return jsonb_build_object('sent', true);
end
$$;

-- For every caller: nothing that was claimed is sent when what its claim looked at does not hold any more.
create function private.guard_sending() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_action app.actions;
    v_look record;
begin
    perform private.lock_tenant(new.tenant_id, false);
    select * into v_action from app.actions where tenant_id = new.tenant_id and id = new.action_id;
    v_look := private.look_again(v_action);
    if v_look.waits = 'kill_switch_engaged' then
        perform private.fail(409, 'kill_switch_engaged', 'A kill switch covers this; nothing is sent.');
    elsif v_look.waits is not null or v_look.ended is not null then
        perform private.fail(409, 'authorization_ended', format('Nothing is sent: %s.', coalesce(v_look.ended, v_look.waits)));
    end if;
    return new;
end
$$;
do $$
declare
    v_columns text;
begin
    select string_agg(quote_ident(attname), ', ' order by attnum) into v_columns from pg_attribute
        where attrelid = 'app.attempts'::regclass and attnum > 0 and not attisdropped and attname <> 'erased_at';
    execute format('create trigger attempts_guard_sending before update of %s on app.attempts for each row '
        'when (old.kind = ''executor'' and old.sent_at is null and new.sent_at is not null) execute function private.guard_sending()', v_columns);
end
$$;

select private.guard_table('app.attempts');
select private.guard_table('app.actions');
revoke all on all functions in schema app, private from public;
grant execute on function app.send_attempt_v1 to authenticated;
