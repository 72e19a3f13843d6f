-- What a second look changed: what a long stop left to people can be proposed again, and what comes too late is not kept for good.

-- As it was; also of a run that is completed.
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
    -- Also when the run is completed by now: after a long stop most are.
    select * into v_run from app.runs where tenant_id = v_old.tenant_id and id = v_old.run_id;
    perform private.require_environment(v_principal, v_run.environment);
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

-- As it was; of the answer, which is kept for ever, only how it ended and its digest.
create or replace function app.note_late_answer_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_attempt app.attempts;
begin
    select * into v_attempt from app.attempts where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'attempt_id')::uuid and fence = (p_args ->> 'fence')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such attempt of this holder.');
    elsif v_attempt.status <> 'executing' and v_attempt.response is not distinct from p_args -> 'response'
        and v_attempt.response_digest is not distinct from p_args ->> 'response_digest' and v_attempt.finished_at < v_attempt.lease_expires_at then
        return jsonb_build_object('recorded', false);
    end if;
    insert into app.late_answers (tenant_id, id, environment, action_id, run_id, outcome, response, response_digest, error)
    values (v_attempt.tenant_id, v_attempt.id, v_attempt.environment, v_attempt.action_id, v_attempt.run_id, p_args ->> 'outcome',
        (p_args -> 'response') - 'body', p_args ->> 'response_digest', left(p_args ->> 'error', 4000))
    on conflict (tenant_id, id) do nothing;
    return jsonb_build_object('recorded', found);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.repropose_exception_v1, app.note_late_answer_v1 to authenticated;
