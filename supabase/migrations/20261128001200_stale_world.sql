-- What is proposed again because the world moved: never what may have been done already, and decided again with what moved.

-- As it was; and what an earlier attempt may have done is not proposed a second time. args: {attempt_id, fence, reason, action}
create or replace function app.repropose_action_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_attempt app.attempts;
    v_old app.actions;
begin
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

-- As it was, with what had moved.
create or replace function private.stored_proposal(p_decision app.decisions, p_action app.actions) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when p_action.id is null then p_decision.proposal else jsonb_build_object('run_id', p_action.run_id, 'tool', p_action.tool,
        'payload', p_action.payload, 'confidence', p_action.confidence, 'rationale', p_action.rationale, 'citations', p_action.citations,
        'evidence', p_action.evidence, 'subject', p_action.subject, 'edited_by', p_action.edited_by, 'moved', p_action.moved,
        'principal', jsonb_build_object('kind', p_action.proposed_by_kind, 'id', p_action.proposed_by)) end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.repropose_action_v1 to authenticated;
