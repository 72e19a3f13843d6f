-- What a permit rests on is looked at in the one place of these conditions (`private.look_again`), as what Countersign executes itself
-- is: also whether the service account that proposed it has ended, whoever asks for the permit.

-- As it was, by the conditions that whoever executes asks for. args: {action_id, attempt_id, permit_seconds}
create or replace function app.claim_permit_v1(p_args jsonb) returns jsonb
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

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_permit_v1 to authenticated;
