-- The human queue: exceptions, and the approvals that people give to exact payloads.

create table app.exceptions (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null,
    action_id uuid not null,
    run_id uuid not null,
    status text not null default 'open' check (status in ('open', 'approved', 'rejected', 'edited', 'answered', 'expired')),
    severity text not null check (severity in ('low', 'medium', 'high', 'critical')),
    summary text not null,
    assigned_to uuid,
    expires_at timestamptz not null,
    decided_by uuid,
    decided_at timestamptz,
    reason text,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id)
);
create unique index exceptions_by_action on app.exceptions (tenant_id, action_id);
create index exceptions_by_run on app.exceptions (tenant_id, run_id);
create index exceptions_by_time on app.exceptions (tenant_id, created_at desc, id desc);
create index exceptions_open on app.exceptions (expires_at) where status = 'open';

create table app.approvals (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null,
    action_id uuid not null,
    run_id uuid not null,
    digest text not null,
    user_id uuid not null,
    role text not null,
    aal text not null,
    session_id text,
    verdict text not null check (verdict in ('approve', 'reject')),
    reason text not null default '',
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, action_id, user_id),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id)
);

-- An approval is a person's own, of exactly this payload, and names the session that the database sees,
-- whatever the row says (invariants 4 and 6).
create function private.guard_approval() returns trigger
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
create trigger approvals_guard before insert on app.approvals
    for each row execute function private.guard_approval();

create function private.guard_exception() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_action app.actions;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'An exception is never deleted.');
    end if;
    select * into v_action from app.actions where tenant_id = new.tenant_id and id = new.action_id;
    if tg_op = 'INSERT' then
        if new.status <> 'open' or new.decided_by is not null or v_action.status is distinct from 'awaiting_approval' then
            perform private.fail(409, 'invalid_transition', 'An exception begins open, for an action that waits.');
        end if;
        new.environment := v_action.environment;
        new.run_id := v_action.run_id;
    elsif old.status <> 'open' then
        if (new.status, new.decided_by, new.decided_at, new.reason) is distinct from (old.status, old.decided_by, old.decided_at, old.reason) then
            perform private.fail(409, 'already_decided', format('This exception is %s already.', old.status));
        end if;
    elsif new.status = 'expired' then
        if old.expires_at > clock_timestamp() then
            perform private.fail(409, 'not_expired', 'There is still time to decide this exception.');
        end if;
    -- Cancelling an action answers its exception; everything else is a person's decision.
    elsif new.status <> 'open' and not (new.status = 'answered' and v_action.status = 'cancelled') then
        v_principal := private.require('exceptions.decide');
        if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id or v_principal.id is distinct from new.decided_by then
            perform private.fail(403, 'people_only', 'Only a person of the tenant decides an exception.');
        end if;
    end if;
    return new;
end
$$;
create trigger exceptions_guard before insert or update or delete on app.exceptions
    for each row execute function private.guard_exception();
create trigger exceptions_keep_columns before update on app.exceptions
    for each row execute function private.keep_columns('status', 'assigned_to', 'decided_by', 'decided_at', 'reason');
select private.audit_table('app.exceptions', 'exception', 'opened', 'severity summary assigned_to decided_by', 'reason');
select private.audit_table('app.approvals', 'approval', 'recorded', 'digest user_id role aal verdict expires_at', 'reason');
select private.append_only('app.approvals');

alter table app.exceptions enable row level security;
alter table app.exceptions force row level security;
alter table app.approvals enable row level security;
alter table app.approvals force row level security;
create policy "members read their tenant's exceptions of their environment" on app.exceptions for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
create policy "members read their tenant's approvals of their environment" on app.approvals for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.exceptions, app.approvals to authenticated;

-- An open exception and its action, locked, in that order. Refuses another digest than the one that was shown.
create function private.open_exception(p_principal private.principal, p_id uuid, p_digest text) returns app.actions
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_exception app.exceptions;
    v_action app.actions;
begin
    select * into v_exception from app.exceptions where tenant_id = p_principal.tenant_id and id = p_id for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such exception.');
    elsif v_exception.status <> 'open' then
        perform private.fail(409, 'already_decided', format('This exception is %s already.', v_exception.status));
    elsif v_exception.expires_at <= clock_timestamp() then
        perform private.fail(409, 'exception_expired', 'The time to decide this exception is over.');
    end if;
    select * into v_action from app.actions where tenant_id = p_principal.tenant_id and id = v_exception.action_id for update;
    if v_action.digest is distinct from p_digest then
        perform private.fail(409, 'digest_mismatch', 'The payload is not the one that was shown; load it again.');
    end if;
    return v_action;
end
$$;

-- Decides an exception. args: {id, approval_id, verdict: approve | reject | answer, digest, reason, approval_expires_at}
create function app.decide_exception_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
    v_id uuid := (p_args ->> 'id')::uuid;
    v_action app.actions := private.open_exception(v_principal, v_id, p_args ->> 'digest');
    v_verdict text := p_args ->> 'verdict';
    v_given integer;
    v_status text;
begin
    if v_verdict is null or v_verdict not in ('approve', 'reject', 'answer') then
        perform private.fail(422, 'unknown_verdict', 'A verdict is approve, reject or answer.');
    elsif v_verdict = 'approve' and exists (select from app.approvals where tenant_id = v_principal.tenant_id
        and action_id = v_action.id and user_id = v_principal.id) then
        perform private.fail(409, 'already_approved', 'You have approved this already; another person has to.');
    end if;
    if v_verdict = 'approve' then
        insert into app.approvals (tenant_id, id, environment, action_id, run_id, digest, user_id, role, aal, verdict, reason, expires_at)
        values (v_principal.tenant_id, (p_args ->> 'approval_id')::uuid, v_action.environment, v_action.id, v_action.run_id,
            p_args ->> 'digest', v_principal.id, v_principal.role, v_principal.aal, 'approve',
            coalesce(p_args ->> 'reason', ''), (p_args ->> 'approval_expires_at')::timestamptz);
    end if;
    v_given := private.approvals_for(v_action);
    v_status := case when v_verdict = 'reject' then 'rejected' when v_verdict = 'answer' then 'answered'
        when v_given >= greatest(v_action.required_approvals, 1) then 'approved' else 'open' end;
    if v_status <> 'open' then
        update app.exceptions set status = v_status, decided_by = v_principal.id, decided_at = now(), reason = p_args ->> 'reason'
            where tenant_id = v_principal.tenant_id and id = v_id;
        update app.actions set
            status = case v_status when 'approved' then 'authorized' when 'rejected' then 'rejected' else 'cancelled' end,
            next_attempt_at = case when v_status = 'approved' then now() end,
            status_reason = case when v_status = 'answered' then 'answered by hand' end, updated_at = now()
            where tenant_id = v_principal.tenant_id and id = v_action.id returning status into v_action.status;
    end if;
    return jsonb_build_object('id', v_id, 'status', v_status, 'digest', v_action.digest,
        'action', jsonb_build_object('id', v_action.id, 'status', v_action.status),
        'approvals', jsonb_build_object('given', v_given, 'required', greatest(v_action.required_approvals, 1)));
end
$$;

-- Replaces the payload of an exception by an edited one, which begins anew: its own decision, its own exception, and an
-- approval by somebody else than its editor. args: {exception_id, digest, reason, action: as record_action_v1}
create function app.edit_exception_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
    v_old app.actions := private.open_exception(v_principal, (p_args ->> 'exception_id')::uuid, p_args ->> 'digest');
    v_run app.runs;
    v_stale jsonb;
    v_new jsonb;
begin
    select * into v_run from app.runs where tenant_id = v_old.tenant_id and id = v_old.run_id;
    v_stale := private.stale_answer(v_principal, v_run, (p_args -> 'action' ->> 'epoch')::bigint);
    if v_stale is not null then
        return v_stale;
    end if;
    update app.exceptions set status = 'edited', decided_by = v_principal.id, decided_at = now(), reason = p_args ->> 'reason'
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'exception_id')::uuid;
    update app.actions set status = 'superseded', status_reason = p_args ->> 'reason', updated_at = now()
        where tenant_id = v_old.tenant_id and id = v_old.id;
    v_new := private.insert_action(v_principal, v_run, p_args -> 'action', v_principal.id, v_old);
    return jsonb_build_object('id', p_args ->> 'exception_id', 'status', 'edited', 'action', jsonb_build_object('id', v_old.id, 'status', 'superseded'),
        'superseded_by', v_new - 'recorded');
end
$$;

-- Hands an exception to a member. args: {id, user_id}
create function app.assign_exception_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
begin
    if p_args ->> 'user_id' is not null and not exists (select from app.members
        where tenant_id = v_principal.tenant_id and user_id = (p_args ->> 'user_id')::uuid) then
        perform private.fail(422, 'unknown_member', 'There is no such member.');
    end if;
    update app.exceptions set assigned_to = (p_args ->> 'user_id')::uuid
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid and status = 'open';
    if not found then
        perform private.fail(404, 'not_found', 'There is no such open exception.');
    end if;
    return jsonb_build_object('id', p_args ->> 'id', 'assigned_to', p_args ->> 'user_id');
end
$$;

-- Exceptions of any tenant whose time is over, as ids.
create function app.claim_expired_exceptions_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', tenant_id, 'id', id)), '[]')
    from (select tenant_id, id from app.exceptions where status = 'open' and expires_at <= now() order by expires_at limit p_limit) e
$$;

-- Expires one exception and its action. args: {id}
create function app.expire_exception_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.expire');
    v_action uuid;
begin
    update app.exceptions set status = 'expired', decided_at = now(), reason = 'nobody decided in time'
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid and status = 'open' and expires_at <= now()
        returning action_id into v_action;
    if not found then
        return jsonb_build_object('recorded', false);
    end if;
    update app.actions set status = 'expired', status_reason = 'nobody decided in time', updated_at = now()
        where tenant_id = v_principal.tenant_id and id = v_action;
    return jsonb_build_object('id', p_args ->> 'id', 'status', 'expired');
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_expired_exceptions_v1 to countersign_worker;
grant execute on function app.decide_exception_v1, app.edit_exception_v1, app.assign_exception_v1, app.expire_exception_v1 to authenticated;
