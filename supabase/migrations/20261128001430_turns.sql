-- Whose turn it is: what lost its turn, or met a kill switch, is handed out again as soon as nothing holds it back.

-- As it was. Whoever is refused because of a kill switch gives back what it was handed: from now on private.is_held_back keeps it from
-- being handed out, and when that ends it is due at once instead of 45 seconds after it was handed out. args: as before
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
    if v_answer ->> 'reason' in ('one_at_a_time', 'kill_switch_engaged') then
        delete from private.handouts where tenant_id = v_action.tenant_id and id = v_action.id;
    end if;
    return v_answer;
end
$$;

-- As it was; the answer also says who executes it: {.., executed_by: executor | client}
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

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_attempt_v1, app.repropose_exception_v1 to authenticated;
