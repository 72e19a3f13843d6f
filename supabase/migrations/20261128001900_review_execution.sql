-- What a review of execution changed: what may have been done is never done twice nor called undone, and nothing waits for ever.

-- ended: the action was cancelled, or its authorization had ended, when it became unknown. Then it is not tried again, whatever is found.
alter table private.lookups add column ended boolean not null default false;

-- As it was, for every caller, whatever he makes of how a call ended: what may have had its effect is tried again under a key only, and
-- a refusal of a later attempt says nothing of an earlier one.
create or replace function private.settle_attempt(p_attempt app.attempts, p_args jsonb) returns jsonb
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
        response = p_args -> 'response', response_digest = p_args ->> 'response_digest', error = p_args ->> 'error', finished_at = now(),
        request = nullif(p_args -> 'request', 'null')
        where tenant_id = p_attempt.tenant_id and id = p_attempt.id;
    select * into v_action from app.actions where tenant_id = p_attempt.tenant_id and id = p_attempt.action_id for update;
    if v_status in ('authorized', 'failed', 'dead_letter') and private.may_have_happened(v_action)
        and (v_status <> 'authorized' or private.contract_of(v_action) ->> 'idempotency' is distinct from 'key') then
        v_status := 'unknown';
    end if;
    -- An approval that ran out while the attempt was under way does not carry a retry.
    if v_status = 'authorized' and private.approvals_for(v_action)
        < greatest(v_action.required_approvals, private.is_hard_gate(v_action.effect)::integer) then
        v_status := case when private.may_have_happened(v_action) then 'unknown' else 'dead_letter' end;
    end if;
    update app.actions set status = v_status, status_reason = p_args ->> 'error',
        next_attempt_at = case when v_status = 'authorized' then coalesce((p_args ->> 'next_attempt_at')::timestamptz, now()) end, updated_at = now()
        where tenant_id = p_attempt.tenant_id and id = p_attempt.action_id returning * into v_action;
    perform private.attempt_settled(p_attempt, v_action, p_args);
    return jsonb_build_object('id', p_attempt.action_id, 'status', v_status, 'attempt_id', p_attempt.id);
end
$$;

-- As it was; keeps whether it had ended, and closes what was said of a permit that nobody reported on.
create or replace function private.tell_of_action() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_kind text := 'action.' || new.status;
begin
    if old.status in ('dead_letter', 'unknown') then
        perform private.resolve_alert(new.tenant_id, 'action.' || old.status, 'action', new.id::text, format('It is %s now.', new.status));
        if old.status = 'unknown' then
            perform private.resolve_alert(new.tenant_id, 'permit.unreported', 'action', new.id::text, format('It is %s now.', new.status));
        end if;
        update private.lookups set next_at = null where tenant_id = new.tenant_id and action_id = new.id and next_at is not null;
    end if;
    if new.status in ('dead_letter', 'unknown') and new.connection_id is not null then
        perform private.raise_alert(new.tenant_id, new.environment, v_kind, case new.effect when 'money_movement' then 'critical' else 'warning' end,
            'action', new.id::text,
            case new.status when 'unknown' then format('Nobody knows whether %s happened; the provider is asked again.', new.tool)
                else format('%s was not done and is not tried again; requeue or cancel it.', new.tool) end,
            jsonb_build_object('tool', new.tool, 'run_id', new.run_id, 'attempts',
                (select count(*) from app.attempts where tenant_id = new.tenant_id and action_id = new.id)),
            null, private.owner_of_run(new.tenant_id, new.run_id));
    end if;
    if new.status = 'unknown' and new.connection_id is not null then
        insert into private.lookups (tenant_id, action_id, since, next_at, ended)
            values (new.tenant_id, new.id, now(), now() + interval '1 minute', old.status = 'authorized')
            on conflict (tenant_id, action_id) do update set since = excluded.since, next_at = excluded.next_at, looks = 0, ended = excluded.ended;
    end if;
    return null;
end
$$;

-- As it was; but what was cancelled, or whose authorization had ended, before nobody knew what became of it has failed: it is not tried
-- again. args: {id, observation_id, reason}
create or replace function app.settle_absent_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_action app.actions;
    v_contract private.tools_in_force;
    v_sent timestamptz;
    v_seen timestamptz;
    v_status text;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_action from app.actions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such action.');
    elsif v_action.status <> 'unknown' or v_action.connection_id is null then
        perform private.fail(409, 'not_unknown', format('The action is %s, or none of the executor''s.', v_action.status));
    end if;
    v_contract := private.tool_of(v_action.tenant_id, v_action.tool);
    if v_contract.version is distinct from v_action.contract_version
        or v_contract.contract -> 'read_back' ->> 'conclusive_after' is null then
        perform private.fail(409, 'never_conclusive', 'The contract does not say when an absence is conclusive; a person decides.');
    end if;
    select max(coalesce(finished_at, lease_expires_at)) into v_sent from app.attempts
        where tenant_id = v_action.tenant_id and action_id = v_action.id and sent_at is not null;
    select created_at into v_seen from app.observations where tenant_id = v_action.tenant_id and id = (p_args ->> 'observation_id')::uuid
        and action_id = v_action.id and purpose = 'read_back' and status = 'succeeded'
        and tool = v_contract.contract -> 'read_back' ->> 'tool';
    if v_seen is null or v_sent is null
        or v_seen < v_sent + make_interval(secs => (v_contract.contract -> 'read_back' ->> 'conclusive_after')::double precision) then
        perform private.fail(409, 'too_early', 'It was not read back after the time that the contract names.');
    elsif exists (select from app.late_answers where tenant_id = v_action.tenant_id and action_id = v_action.id and outcome <> 'failed') then
        perform private.fail(409, 'answered_late', 'The provider answered late; a person decides.');
    end if;
    update private.lookups set absent_at = v_seen where tenant_id = v_action.tenant_id and action_id = v_action.id;
    if not found then
        insert into private.lookups (tenant_id, action_id, since, absent_at) values (v_action.tenant_id, v_action.id, now(), v_seen);
    end if;
    v_status := case when v_action.expires_at > now()
        and not coalesce((select ended from private.lookups where tenant_id = v_action.tenant_id and action_id = v_action.id), false)
        and private.approvals_for(v_action)
        >= greatest(v_action.required_approvals, private.is_hard_gate(v_action.effect)::integer) then 'authorized' else 'failed' end;
    update app.actions set status = v_status, status_reason = p_args ->> 'reason',
        next_attempt_at = case when v_status = 'authorized' then now() end, updated_at = now()
        where tenant_id = v_action.tenant_id and id = v_action.id;
    return jsonb_build_object('id', v_action.id, 'status', v_status);
end
$$;

-- For every caller: of what nobody knows, only what was seen not to have happened is authorized again, and nothing that was ended.
create function private.guard_unknown() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if private.may_have_happened(new)
        or exists (select from private.lookups where tenant_id = new.tenant_id and action_id = new.id and ended) then
        perform private.fail(409, 'maybe_done', 'It may have had its effect, or was ended; it is reconciled, and never tried again.');
    end if;
    return null;
end
$$;
create trigger actions_guard_unknown after update on app.actions for each row
    when (old.status = 'unknown' and new.status = 'authorized') execute function private.guard_unknown();

-- Whether an action was attempted since a switch is at its stage.
create function private.has_begun(p_action app.actions, p_switch app.kill_switches) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.attempts where tenant_id = p_action.tenant_id and action_id = p_action.id
        and started_at >= p_switch.staged_at)
$$;

-- As it was; but of two that have both begun (one of them was requeued) one goes first, or they would wait for each other for ever.
create or replace function private.taking_turns(p_action app.actions, p_wait boolean) returns app.kill_switches
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

-- As it was, but for the order of its locks. args: {attempt_id, fence, reason, action}
create or replace function app.repropose_action_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_attempt app.attempts;
    v_old app.actions;
begin
    -- Before the attempt, as whoever engages a kill switch takes them: else each would wait for the other.
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_attempt from app.attempts where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'attempt_id')::uuid and fence = (p_args ->> 'fence')::uuid for update;
    if not found or v_attempt.status <> 'executing' or v_attempt.sent_at is not null or v_attempt.lease_expires_at <= clock_timestamp() then
        perform private.fail(409, 'lease_lost', 'The attempt is over, or was sent already.');
    end if;
    select * into v_old from app.actions where tenant_id = v_attempt.tenant_id and id = v_attempt.action_id for update;
    if private.may_have_happened(v_old) then
        perform private.fail(409, 'maybe_done', 'An earlier attempt may have had its effect; only the provider''s answer settles it.');
    end if;
    return private.repropose(v_principal, v_old, v_attempt, p_args);
end
$$;

-- As it was, with the tenant's lock first; and what may have been done is not proposed under another key. args: {action_id, reason, action}
create or replace function app.repropose_dead_letter_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.requeue');
    v_old app.actions;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_old from app.actions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'action_id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such action.');
    elsif v_old.status <> 'dead_letter' then
        perform private.fail(409, 'not_a_dead_letter', format('The action is %s; only a dead letter is requeued.', v_old.status));
    elsif private.may_have_happened(v_old) then
        perform private.fail(409, 'maybe_done', 'An attempt may have had its effect: it is requeued as it is, under its key, or never.');
    end if;
    return private.repropose(v_principal, v_old, null::app.attempts, p_args);
end
$$;

-- As it was; and what is erased is not undone, for nobody knows any more with which arguments it was done.
create or replace function private.guard_compensation() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_done app.actions;
    v_other app.actions;
begin
    if new.supersedes is not null then
        new.compensates := (select compensates from app.actions where tenant_id = new.tenant_id and id = new.supersedes);
    end if;
    if new.compensates is null then
        return new;
    end if;
    -- Whoever comes second waits here, and then sees the first.
    select * into v_done from app.actions where tenant_id = new.tenant_id and id = new.compensates for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such action to undo.');
    elsif v_done.status <> 'succeeded' then
        perform private.fail(409, 'not_succeeded', format('The action is %s; only what succeeded is undone.', v_done.status));
    elsif v_done.erased_at is not null then
        perform private.fail(409, 'state_not_kept', 'What was done is erased, so it cannot be undone here; undo it by hand.');
    elsif v_done.compensates is not null then
        perform private.fail(409, 'undo_of_undo', 'An undo is not undone; propose the action again.');
    elsif (v_done.run_id, v_done.environment) is distinct from (new.run_id, new.environment) then
        perform private.fail(409, 'undo_elsewhere', 'An action is undone in the run that did it.');
    elsif private.contract_of(v_done) -> 'compensate' ->> 'tool' is distinct from new.tool then
        perform private.fail(409, 'not_its_undo', format('%s is not undone by %s.', v_done.tool, new.tool));
    end if;
    v_other := private.standing_undo(new.tenant_id, new.compensates);
    if v_other.id is not null then
        perform private.fail(409, case when v_other.status = 'succeeded' then 'undone_already' else 'undo_under_way' end,
            format('The action %s is the undo of it, and is %s.', v_other.id, v_other.status));
    end if;
    return new;
end
$$;

-- As it was; but not what is erased. args: {exception_id, digest, reason, action: as record_action_v1}
create or replace function app.repropose_exception_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
    v_old app.actions := private.open_exception(v_principal, (p_args ->> 'exception_id')::uuid, p_args ->> 'digest');
    v_run app.runs;
    v_answer jsonb;
begin
    perform private.require('actions.propose');
    if (select kind from app.exceptions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'exception_id')::uuid) <> 'manual' then
        perform private.fail(409, 'not_manual', 'Only what a kill switch stopped is proposed again; edit this one.');
    elsif v_old.erased_at is not null then
        perform private.fail(409, 'state_not_kept', 'What was stopped is erased; propose it in a run of its own.');
    elsif (p_args -> 'action' ->> 'payload')::jsonb -> 'args' is distinct from v_old.payload::jsonb -> 'args'
        or p_args -> 'action' ->> 'tool' is distinct from v_old.tool then
        perform private.fail(422, 'another_payload', 'What is proposed again is what was stopped, unedited.');
    end if;
    v_run := private.active_run(v_principal, v_old.run_id);
    v_answer := private.stale_answer(v_principal, v_run, p_args -> 'action', null);
    if v_answer is not null then
        return v_answer;
    end if;
    v_answer := private.insert_action(v_principal, v_run, p_args -> 'action', null, null::app.actions);
    update app.exceptions set status = 'answered', decided_by = v_principal.id, decided_at = now(), reason = p_args ->> 'reason',
        reproposed_as = (v_answer ->> 'id')::uuid
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'exception_id')::uuid;
    return v_answer || jsonb_build_object('executed_by', (select case when private.is_external(a) then 'client' else 'executor' end
        from app.actions a where a.tenant_id = v_principal.tenant_id and a.id = (v_answer ->> 'id')::uuid));
end
$$;

-- As it was; also of an attempt that ended without any answer.
create or replace function private.erase_content() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_row jsonb := to_jsonb(new);
    v_run app.runs;
    v_left jsonb;
begin
    if tg_op = 'INSERT' then
        if new.erased_at is not null then
            perform private.fail(409, 'not_due', 'Nothing begins as erased.');
        end if;
        return new;
    elsif new.erased_at is not distinct from old.erased_at then
        return new;
    end if;
    v_principal := private.require('observations.erase');
    if v_principal.kind <> 'system' or v_principal.tenant_id <> old.tenant_id then
        perform private.fail(403, 'permission_denied', 'Only the scheduled function erases.');
    elsif old.erased_at is not null then
        perform private.fail(409, 'already_erased', 'This is erased already.');
    end if;
    v_row := to_jsonb(old);
    select * into v_run from app.runs where tenant_id = old.tenant_id
        and id = (v_row ->> case when tg_table_name = 'runs' then 'id' else 'run_id' end)::uuid;
    if not found or private.why_run_is_due(v_run) is null then
        perform private.fail(409, 'not_due', 'This run is still to be kept.');
    end if;
    v_left := case tg_table_name
        when 'runs' then '{"instruction": "", "subject": null}'
        when 'actions' then jsonb_build_object('payload', ((v_row ->> 'payload')::jsonb || '{"args": {}}')::text, 'rationale', '',
            'citations', '[]'::jsonb, 'evidence', '[]'::jsonb, 'subject', null, 'moved', null, 'status_reason', null)
        when 'attempts' then jsonb_build_object('response',
            case when jsonb_typeof(v_row -> 'response') = 'object' then (v_row -> 'response') - 'body' end, 'request', null, 'error', null)
        when 'decisions' then jsonb_build_object('document', private.erased_decision(v_row -> 'document'),
            'reasons', private.erased_findings(v_row -> 'reasons'), 'proposal', null, 'basis', null)
        when 'exceptions' then jsonb_build_object('class', case when jsonb_typeof(v_row -> 'class') = 'object' then
            (v_row -> 'class') || jsonb_build_object('counterparties', '[]'::jsonb,
                'attributes', coalesce(v_row -> 'class' -> 'attributes', '{}') - 'counterparty') end)
    end;
    new := jsonb_populate_record(old, v_left || jsonb_build_object('erased_at', clock_timestamp()));
    return new;
end
$$;

select private.guard_table('app.actions');
revoke all on all functions in schema app, private from public;
grant execute on function app.repropose_exception_v1, app.settle_absent_v1, app.repropose_action_v1, app.repropose_dead_letter_v1 to authenticated;
