-- The last word before a request leaves: what was decided has to hold at that moment, and not only when the attempt was claimed; and
-- what was put off before it was sent uses up no try.

-- put_off: ended before it was sent, for a reason that passes by itself: a kill switch, a limit, a circuit, a connection that is not well.
alter table app.attempts
    add column put_off boolean not null default false,
    add constraint put_off_unsent check (not put_off or status = 'failed' and sent_at is null and kind = 'executor');
-- Its guards watch every column but `erased_at`, which has one of its own.
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

-- As it was; and what was claimed and provably not sent can expire.
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
        ('executing', 'superseded'), ('dead_letter', 'superseded'), ('executing', 'expired'),
        ('executing', 'authorized'), ('executing', 'succeeded'), ('executing', 'failed'), ('executing', 'unknown'), ('executing', 'dead_letter'),
        ('unknown', 'succeeded'), ('unknown', 'failed'), ('unknown', 'authorized'),
        ('dead_letter', 'authorized'), ('dead_letter', 'cancelled')) then
        perform private.fail(409, 'invalid_transition', format('An action cannot go from %s to %s.', old.status, new.status));
    end if;
    if tg_op = 'UPDATE' and old.status = 'executing' and new.status = 'expired' and not private.was_not_sent(new) then
        perform private.fail(409, 'maybe_done', 'Its attempt was sent, or is under way: it does not expire any more.');
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
            if v_contract.version <> new.contract_version and (tg_op = 'INSERT' or old.status <> new.status) then
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
        v_switch := private.taking_turns(new, true);
        if v_switch.id is not null then
            perform private.fail(409, 'one_at_a_time', format('One after the other, while a kill switch is being released: %s', v_switch.reason));
        end if;
    elsif new.status = 'authorized' and tg_op = 'INSERT' then
        v_switch := private.kill_switch_over(new.tenant_id, new.workflow_id, new.connection_id, new.tool,
            case when new.proposed_by_kind = 'service' then new.proposed_by end);
        if v_switch.stage = 'drafts' then
            perform private.fail(409, 'drafts_only', format('A person looks at this first: %s', v_switch.reason));
        end if;
    end if;
    return new;
end
$$;

-- As it was, by the conditions that whoever sends asks for too. Also answers {tries}: which try this is since it was last requeued.
-- args: as before
create or replace function private.claim_in_turn(p_args jsonb) returns jsonb
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

-- As it was; and what was put off is marked, so that it uses up no try. What is put off when its approvals have ended expires, as it
-- would have at its claim. p_args: also {put_off?}, of what was not sent and is tried again.
create or replace function private.settle_attempt(p_attempt app.attempts, p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_outcome text := p_args ->> 'outcome';
    v_status text := case v_outcome when 'retry' then 'authorized' else v_outcome end;
    v_action app.actions;
    v_put_off boolean := v_outcome = 'retry' and p_attempt.sent_at is null and p_attempt.kind = 'executor'
        and coalesce((p_args ->> 'put_off')::boolean, false);
begin
    if v_outcome is null or v_outcome not in ('succeeded', 'retry', 'failed', 'unknown', 'dead_letter') then
        perform private.fail(422, 'invalid_outcome', 'An outcome is succeeded, retry, failed, unknown or dead_letter.');
    end if;
    update app.attempts set status = case when v_outcome in ('succeeded', 'unknown') then v_outcome else 'failed' end,
        response = p_args -> 'response', response_digest = p_args ->> 'response_digest', error = p_args ->> 'error', finished_at = now(),
        request = nullif(p_args -> 'request', 'null'), put_off = v_put_off
        where tenant_id = p_attempt.tenant_id and id = p_attempt.id;
    select * into v_action from app.actions where tenant_id = p_attempt.tenant_id and id = p_attempt.action_id for update;
    if v_status in ('authorized', 'failed', 'dead_letter') and private.may_have_happened(v_action)
        and (v_status <> 'authorized' or private.contract_of(v_action) ->> 'idempotency' is distinct from 'key') then
        v_status := 'unknown';
    end if;
    -- An approval that ran out while the attempt was under way does not carry a retry.
    if v_status = 'authorized' and private.approvals_for(v_action)
        < greatest(v_action.required_approvals, private.is_hard_gate(v_action.effect)::integer) then
        v_status := case when private.may_have_happened(v_action) then 'unknown' when v_put_off then 'expired' else 'dead_letter' end;
    end if;
    update app.actions set status = v_status, status_reason = p_args ->> 'error',
        next_attempt_at = case when v_status = 'authorized' then coalesce((p_args ->> 'next_attempt_at')::timestamptz, now()) end, updated_at = now()
        where tenant_id = p_attempt.tenant_id and id = p_attempt.action_id returning * into v_action;
    perform private.attempt_settled(p_attempt, v_action, p_args);
    return jsonb_build_object('id', p_attempt.action_id, 'status', v_status, 'attempt_id', p_attempt.id);
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
create or replace function app.send_attempt_v1(p_args jsonb) returns jsonb
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

-- As it was; what it takes back uses up no try. args: as before
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

select private.guard_table('app.attempts');
select private.guard_table('app.actions');
revoke all on all functions in schema app, private from public;
revoke all on function private.claim_in_turn from authenticated;
grant execute on function app.send_attempt_v1, app.engage_kill_switch_v1 to authenticated;
