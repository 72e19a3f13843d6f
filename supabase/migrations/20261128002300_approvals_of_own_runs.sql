-- Whoever starts a run that is driven here says what it is about, and the system proposes: so he approves nothing of it, as he
-- approves nothing that he proposes himself.

-- Whether this person started the action's run by a call, or a run that it was had run again for: such a run is still that of whoever started
-- the first one and said what it is about, and who has it run again answers for it, too. Or, where the tenant separates duties, made the
-- service account that did, or issued a key of it: which of its keys it was is not kept of a run.
create function private.started_its_run(p_action app.actions, p_user uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with recursive origins as (
        select r.id, r.started_by_kind, r.started_by, r.trigger_detail from app.runs r
            where r.tenant_id = p_action.tenant_id and r.id = p_action.run_id and r.driven_by = 'loop'
        union
        select r.id, r.started_by_kind, r.started_by, r.trigger_detail from origins o
            join app.runs r on r.tenant_id = p_action.tenant_id and r.id = (o.trigger_detail ->> 'restarts')::uuid
    )
    select exists (select from origins r where r.started_by_kind = 'user' and r.started_by = p_user
        or r.started_by_kind = 'service' and coalesce((private.settings_of(p_action.tenant_id)).separation_of_duties, false)
            and (exists (select from app.service_accounts where tenant_id = p_action.tenant_id and id = r.started_by and created_by = p_user)
                or exists (select from app.api_keys where tenant_id = p_action.tenant_id and service_account_id = r.started_by
                    and created_by = p_user)))
$$;

-- How many people have approved exactly this payload and still may: not whoever proposed or edited it, made the proposer, or started its run.
create or replace function private.approvals_for(p_action app.actions) returns integer
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Whoever has left, or lost the role since, has taken his approval along.
    return (select count(distinct a.user_id) from app.approvals a
    join app.members m on m.tenant_id = a.tenant_id and m.user_id = a.user_id and m.role = any (p_action.required_roles)
    where m.role = any (select unnest(roles) from private.permissions where permission = 'exceptions.decide') and a.tenant_id = p_action.tenant_id and a.action_id = p_action.id and a.verdict = 'approve'
        and a.digest = p_action.digest and a.expires_at > clock_timestamp()
        and a.user_id is distinct from p_action.proposed_by and a.user_id is distinct from p_action.edited_by
        and a.role = any (p_action.required_roles)
        and (a.aal = 'aal2' or (p_action.required_aal = 'aal1' and p_action.effect <> 'money_movement'))
        and not private.made_the_proposer(p_action, a.user_id) and not private.started_its_run(p_action, a.user_id));
end
$$;

-- A person approves for himself, what he was shown, in a role that is asked for and with the second factor that it needs; and nothing that he
-- proposed, edited, or had proposed by a run or an agent of his own.
create or replace function private.guard_approval() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
    v_action app.actions;
begin
    select * into v_action from app.actions where tenant_id = new.tenant_id and id = new.action_id;
    if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id or v_principal.id <> new.user_id then
        perform private.fail(403, 'people_only', 'A person approves for himself only.');
    elsif v_action.status is distinct from 'awaiting_approval' then
        perform private.fail(409, 'not_awaiting_approval', format('The action is %s.', v_action.status));
    elsif new.digest <> v_action.digest then
        perform private.fail(409, 'digest_mismatch', 'The payload is not the one that was shown; load it again.');
    elsif new.verdict = 'approve' and new.user_id in (v_action.proposed_by, v_action.edited_by) then
        perform private.fail(403, 'own_payload', 'Who proposed or edited a payload cannot approve it.');
    elsif new.verdict = 'approve' and private.made_the_proposer(v_action, new.user_id) then
        perform private.fail(403, 'own_agent', 'This tenant separates duties: who made the service account or issued its key cannot approve what it proposes.');
    elsif new.verdict = 'approve' and private.started_its_run(v_action, new.user_id) then
        perform private.fail(403, 'own_run', 'Who starts a run, or where duties are separated whose account does, cannot approve what it proposes; somebody else decides.');
    elsif new.verdict = 'approve' and not v_principal.role = any (v_action.required_roles) then
        perform private.fail(403, 'role_not_asked_for', format('This needs the approval of: %s.', array_to_string(v_action.required_roles, ', ')));
    elsif new.verdict = 'approve' and v_principal.aal is distinct from 'aal2'
        and (v_action.required_aal = 'aal2' or v_action.effect = 'money_movement') then
        perform private.fail(403, 'aal2_required', 'This approval needs a session with a second factor (aal2).');
    end if;
    new.environment := v_action.environment;
    new.run_id := v_action.run_id;
    new.role := v_principal.role;
    new.aal := coalesce(v_principal.aal, 'aal1');
    new.session_id := v_principal.session_id;
    new.created_at := clock_timestamp();
    new.expires_at := least(new.expires_at, clock_timestamp() + interval '7 days');
    return new;
end
$$;

revoke all on all functions in schema app, private from public;
