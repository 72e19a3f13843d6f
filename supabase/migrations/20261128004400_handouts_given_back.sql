-- What somebody else is at work on is given back: it is due again as soon as that has come to an end.

-- As it was. Whoever finds that an action is not due, or that somebody else has it in hand (the request that approved it executes it at
-- once, perhaps just when the schedule was handed it), gives it back, too: should that attempt fail and be tried again, the retry would
-- otherwise wait until 45 seconds after the handout. A claim still takes the row first, so nothing is done twice. args: as before
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

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_attempt_v1 to authenticated;
