-- The manual fallback: what is proposed while a kill switch stops it becomes an item that people do by hand. Nothing lets it run.

-- kind: `approval` waits for a verdict on an action, `manual` for somebody who does it by hand. kill_switch_id: what stopped it.
-- provider_reference: where to find what was done by hand. reproposed_as: the action of a person's own that took it up again.
alter table app.exceptions
    add column kind text not null default 'approval' check (kind in ('approval', 'manual')),
    add column kill_switch_id uuid,
    add column provider_reference text check (length(provider_reference) between 1 and 300),
    add column reproposed_as uuid,
    add constraint manual_names_its_switch check ((kind = 'manual') = (kill_switch_id is not null)),
    add constraint manual_alone_is_done_by_hand check (kind = 'manual' or coalesce(provider_reference, reproposed_as::text) is null),
    add foreign key (tenant_id, kill_switch_id) references app.kill_switches (tenant_id, id),
    add foreign key (tenant_id, reproposed_as) references app.actions (tenant_id, id);
create index exceptions_by_kill_switch on app.exceptions (tenant_id, kill_switch_id) where kill_switch_id is not null;
create index exceptions_by_reproposed_as on app.exceptions (tenant_id, reproposed_as) where reproposed_as is not null;
drop trigger exceptions_keep_columns on app.exceptions;
create trigger exceptions_keep_columns before update on app.exceptions
    for each row execute function private.keep_columns('status', 'assigned_to', 'decided_by', 'decided_at', 'reason', 'provider_reference',
        'reproposed_as');
drop trigger zz_audit_change on app.exceptions;
select private.audit_table('app.exceptions', 'exception', 'opened',
    'kind severity summary assigned_to decided_by kill_switch_id provider_reference reproposed_as', 'reason');

-- An exception is decided once, by a person of the tenant, or expires. What is done by hand belongs to a denied action, and ends without ever
-- being approved or edited.
create or replace function private.guard_exception() returns trigger
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
        if new.status <> 'open' or new.decided_by is not null
            or v_action.status is distinct from (case new.kind when 'manual' then 'denied' else 'awaiting_approval' end) then
            perform private.fail(409, 'invalid_transition', 'An exception begins open, for an action that waits, or to be done by hand for one that was stopped.');
        end if;
        new.environment := v_action.environment;
        new.run_id := v_action.run_id;
    elsif old.status <> 'open' then
        if (new.status, new.decided_by, new.decided_at, new.reason, new.provider_reference, new.reproposed_as)
            is distinct from (old.status, old.decided_by, old.decided_at, old.reason, old.provider_reference, old.reproposed_as) then
            perform private.fail(409, 'already_decided', format('This exception is %s already.', old.status));
        end if;
    elsif new.status in ('approved', 'edited') and new.kind = 'manual' then
        perform private.fail(409, 'manual_only', 'This was stopped: it is done by hand, rejected, or proposed again; nothing lets it run.');
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

-- Opens an item of the manual queue for an action that nothing but kill switches denied. It stays for 30 days.
create function private.open_manual(p_action app.actions, p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_findings jsonb := p_args -> 'decision' -> 'findings';
    v_switch app.kill_switches;
    v_exception app.exceptions;
begin
    if not coalesce(v_findings @> '[{"check": "kill_switch", "outcome": "deny"}]', false)
        or exists (select from jsonb_array_elements(v_findings) f where f ->> 'outcome' = 'deny' and f ->> 'check' <> 'kill_switch') then
        return null;
    end if;
    v_switch := private.kill_switch_over(p_action.tenant_id, p_action.workflow_id, p_action.connection_id, p_action.tool,
        case when p_action.proposed_by_kind = 'service' then p_action.proposed_by end);
    if v_switch.id is null then
        return null;
    end if;
    insert into app.exceptions (tenant_id, id, environment, action_id, run_id, severity, summary, expires_at, kind, kill_switch_id)
    values (p_action.tenant_id, (p_args ->> 'exception_id')::uuid, p_action.environment, p_action.id, p_action.run_id,
        coalesce(p_args ->> 'severity', 'high'), p_args ->> 'summary', now() + interval '30 days', 'manual', v_switch.id)
    returning * into v_exception;
    return jsonb_build_object('id', v_exception.id, 'expires_at', v_exception.expires_at, 'kind', 'manual');
end
$$;

-- A person's verdict on an exception. An item of the manual queue is answered or rejected, which moves no action.
-- args: {id, digest, verdict: approve | reject | answer, reason, approval_id, approval_expires_at, provider_reference?}
create or replace function app.decide_exception_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
    v_id uuid := (p_args ->> 'id')::uuid;
    v_action app.actions := private.open_exception(v_principal, v_id, p_args ->> 'digest');
    v_verdict text := p_args ->> 'verdict';
    v_given integer;
    v_status text;
    v_kind text;
begin
    select kind into v_kind from app.exceptions where tenant_id = v_principal.tenant_id and id = v_id;
    if v_verdict is null or v_verdict not in ('approve', 'reject', 'answer') then
        perform private.fail(422, 'unknown_verdict', 'A verdict is approve, reject or answer.');
    elsif v_kind = 'manual' and v_verdict = 'approve' then
        perform private.fail(409, 'manual_only', 'This was stopped: it is done by hand, rejected, or proposed again; nothing lets it run.');
    elsif v_kind <> 'manual' and p_args ->> 'provider_reference' is not null then
        perform private.fail(422, 'not_manual', 'A reference to what was done by hand goes with an item of the manual queue.');
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
        update app.exceptions set status = v_status, decided_by = v_principal.id, decided_at = now(), reason = p_args ->> 'reason',
            provider_reference = case when v_status = 'answered' then p_args ->> 'provider_reference' end
            where tenant_id = v_principal.tenant_id and id = v_id;
    end if;
    if v_status <> 'open' and v_kind <> 'manual' then
        update app.actions set
            status = case v_status when 'approved' then 'authorized' when 'rejected' then 'rejected' else 'cancelled' end,
            next_attempt_at = case when v_status = 'approved' then now() end,
            status_reason = case when v_status = 'answered' then 'answered by hand' end, updated_at = now()
            where tenant_id = v_principal.tenant_id and id = v_action.id returning status into v_action.status;
    end if;
    return jsonb_build_object('id', v_id, 'status', v_status, 'digest', v_action.digest,
        'action', jsonb_build_object('id', v_action.id, 'status', v_action.status,
            'executed_by', case when private.is_external(v_action) then 'client' else 'executor' end),
        'approvals', jsonb_build_object('given', v_given, 'required', greatest(v_action.required_approvals, 1)));
end
$$;

-- Ends an exception that nobody decided in time, and the action that waits for it; one that was to be done by hand is denied already. args: {id}
create or replace function app.expire_exception_v1(p_args jsonb) returns jsonb
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
        where tenant_id = v_principal.tenant_id and id = v_action and status = 'awaiting_approval';
    return jsonb_build_object('id', p_args ->> 'id', 'status', 'expired');
end
$$;

-- Takes up again what was stopped, as a proposal of the person's own, also of a run that is completed: decided anew, with everything that
-- applies to any proposal. Writes nothing and answers with what is new when the facts have moved meanwhile; else the answer also says who
-- executes it: {.., executed_by: executor | client}. args: {exception_id, digest, reason, action: as record_action_v1}
create function app.repropose_exception_v1(p_args jsonb) returns jsonb
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

select private.guard_table('app.exceptions');
grant select (kind, kill_switch_id, provider_reference, reproposed_as) on app.exceptions to authenticated;
revoke all on all functions in schema app, private from public;
grant execute on function app.repropose_exception_v1 to authenticated;
