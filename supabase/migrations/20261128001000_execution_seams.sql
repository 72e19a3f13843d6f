-- What the executor, its loop and the people behind them build on: actions that are proposed again because the world moved,
-- attempts that say when they were sent, and reads that belong to an action. Some of what is called here stands in later files (admission,
-- settling, kill switches, sending): Postgres looks for it when it is called.

-- moved: what was found to have changed since it was decided; an action that has it takes another's place unedited.
-- compensates: the action that this one undoes.
alter table app.actions
    add column moved jsonb check (jsonb_typeof(moved) = 'array' and octet_length(moved::text) <= 20000),
    add column compensates uuid,
    add constraint moved_supersedes check (moved is null or supersedes is not null),
    add foreign key (tenant_id, compensates) references app.actions (tenant_id, id);
create index actions_by_compensates on app.actions (tenant_id, compensates) where compensates is not null;
drop trigger zz_audit_change on app.actions;
select private.audit_table('app.actions', 'action', 'proposed',
    'tool digest effect workflow_version contract_version connection_id required_approvals supersedes edited_by compensates',
    'rationale_digest citations status_reason moved');

-- kind: who makes the call, the executor or the tenant's own client under a permit. sent_at: from when on it may have reached
-- the provider; until then it can still be stopped. request: what was sent, without any credential.
alter table app.attempts
    add column kind text not null default 'executor' check (kind in ('executor', 'client')),
    add column sent_at timestamptz,
    add column request jsonb check (octet_length(request::text) <= 20000);
drop trigger zz_audit_change on app.attempts;
select private.audit_table('app.attempts', 'attempt', 'started',
    'number kind approvals idempotency_key response_digest lease_expires_at sent_at', 'error');
grant select (kind, sent_at, request) on app.attempts to authenticated;

-- Of a read that serves one action: which, and what for.
alter table app.observations
    add column action_id uuid,
    add column purpose text check (purpose in ('premise', 'before', 'after', 'read_back', 'look')),
    add constraint purpose_of_action check ((action_id is null) = (purpose is null)),
    add foreign key (tenant_id, action_id) references app.actions (tenant_id, id);
create index observations_by_action on app.observations (tenant_id, action_id) where action_id is not null;
drop trigger zz_audit_change on app.observations;
select private.audit_table('app.observations', 'observation', 'recorded',
    'tool contract_version connection_id source digest erased_at erased_classes action_id purpose', 'error');

-- An observation as it is answered, and the action that it was read for.
create or replace function private.observation_document(p_row app.observations) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_row.id, 'run_id', p_row.run_id, 'tool', p_row.tool, 'contract_version', p_row.contract_version,
        'source', p_row.source, 'status', p_row.status, 'args', p_row.args, 'result', p_row.result, 'labels', p_row.labels,
        'digest', p_row.digest, 'error', p_row.error, 'created_at', p_row.created_at,
        'erased_at', p_row.erased_at, 'erased_classes', p_row.erased_classes, 'number', p_row.number)
        || case when p_row.action_id is null then '{}' else jsonb_build_object('action_id', p_row.action_id, 'purpose', p_row.purpose) end
$$;

-- No action begins or moves but along its machine. It names the contract in force; a hard gate, or an edited payload, waits for people; what
-- executes has the approvals of exactly its payload, and no kill switch over it: one at a time, where a switch is released that far, and
-- nothing begins authorized while people are to look first. What was claimed and provably not sent can expire; what is found to rest on a
-- world that has moved makes place for itself, proposed again. Only a person takes a dead letter up again. What the tenant's client executes
-- is executing while it has a permit.
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

-- Records an action with its decision, the room that it takes of limits, and the exception that people decide; an item to do by hand for
-- what a kill switch stopped. Also what moved, and what it undoes. p_args: as record_action_v1, with the decision
create or replace function private.insert_action(p_principal private.principal, p_run app.runs, p_args jsonb, p_edited_by uuid, p_supersedes app.actions)
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid := (p_args ->> 'id')::uuid;
    v_decision jsonb := p_args -> 'decision';
    v_status text := case v_decision ->> 'outcome' when 'allow' then 'authorized' when 'escalate' then 'awaiting_approval' else 'denied' end;
    v_exception uuid := case when v_status = 'awaiting_approval' then (p_args ->> 'exception_id')::uuid end;
    v_action app.actions;
    v_manual jsonb;
begin
    insert into app.actions (tenant_id, id, environment, run_id, workflow_id, workflow_version, tool, contract_version, effect, connection_id,
        payload, digest, status, confidence, rationale, citations, evidence, subject,
        required_approvals, required_roles, required_aal, proposed_by_kind, proposed_by, edited_by, supersedes, expires_at, next_attempt_at,
        moved, compensates)
    values (p_principal.tenant_id, v_id, p_run.environment, p_run.id, p_run.workflow_id, p_run.workflow_version, p_args ->> 'tool',
        (p_args ->> 'contract_version')::integer, p_args ->> 'effect', (p_args ->> 'connection_id')::uuid,
        p_args ->> 'payload', p_args ->> 'digest', v_status, (p_args ->> 'confidence')::numeric,
        coalesce(p_args ->> 'rationale', ''), p_args -> 'citations', p_args -> 'evidence', nullif(p_args -> 'subject', 'null'),
        (v_decision -> 'required_approvals' ->> 'count')::integer,
        array(select jsonb_array_elements_text(v_decision -> 'required_approvals' -> 'roles')),
        v_decision -> 'required_approvals' ->> 'aal',
        coalesce(p_supersedes.proposed_by_kind, p_principal.kind),
        case when p_supersedes.id is null then p_principal.id else p_supersedes.proposed_by end,
        p_edited_by, p_supersedes.id, (p_args ->> 'expires_at')::timestamptz, case when v_status = 'authorized' then now() end,
        nullif(p_args -> 'moved', 'null'), (p_args ->> 'compensates')::uuid) returning * into v_action;
    insert into app.decisions (tenant_id, id, environment, action_id, run_id, workflow_id, epoch, outcome, document, reasons, decided_at, basis)
    values (p_principal.tenant_id, (p_args ->> 'decision_id')::uuid, p_run.environment, v_id, p_run.id, p_run.workflow_id,
        (p_args ->> 'epoch')::bigint, v_decision ->> 'outcome', v_decision, p_args -> 'reasons', (v_decision ->> 'decided_at')::timestamptz,
        nullif(p_args -> 'basis', 'null'));
    if v_status <> 'denied' then
        insert into app.limit_reservations (tenant_id, action_id, environment, key, amount, count, over, created_at)
        select p_principal.tenant_id, v_id, p_run.environment, c.key, c.amount, c.count, c.over, clock_timestamp()
        from jsonb_to_recordset(coalesce(v_decision -> 'limits', '[]')) as c (key text, amount bigint, count integer, over boolean);
    end if;
    if v_exception is not null then
        insert into app.exceptions (tenant_id, id, environment, action_id, run_id, severity, summary, expires_at, class_key, class)
        values (p_principal.tenant_id, v_exception, p_run.environment, v_id, p_run.id, p_args ->> 'severity', p_args ->> 'summary',
            (p_args ->> 'expires_at')::timestamptz, p_args -> 'class' ->> 'key', nullif(p_args -> 'class', 'null'));
    elsif v_status = 'denied' then
        v_manual := private.open_manual(v_action, p_args);
    end if;
    return jsonb_build_object('recorded', true, 'id', v_id, 'status', v_status, 'digest', p_args ->> 'digest', 'decision', v_decision,
        'exception', case when v_exception is not null then jsonb_build_object('id', v_exception, 'expires_at', p_args ->> 'expires_at') else v_manual end);
end
$$;

-- Ends an attempt and moves its action, whatever the caller makes of how a call ended: what may have had its effect is tried again under a key
-- only, and a refusal of a later attempt says nothing of an earlier one. What was put off before it was sent is marked, so that it uses up
-- no try, and expires, as it would have at its claim, when its approvals have ended.
-- p_args: as finish_attempt_v1, with {request?, put_off?}, the latter of what was not sent and is tried again
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

-- Begins a read through the gateway, not faster than the connection takes, and for an action if it says so.
-- args: {id, run_id, tool, contract_version, connection_id, args, epoch, lease_seconds, action_id?, purpose?}
create or replace function app.claim_observation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_run app.runs := private.run_to_read_in(v_principal, p_args);
    v_connection app.connections;
    v_switch app.kill_switches;
    v_id uuid := (p_args ->> 'id')::uuid;
    v_hold jsonb;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    if (private.tool_of(v_principal.tenant_id, p_args ->> 'tool')).contract -> 'execution' ->> 'mode' = 'external' then
        perform private.fail(403, 'external_tool', 'The client reads with this tool itself; send its result along.');
    end if;
    if (select control_epoch from app.tenants where tenant_id = v_principal.tenant_id) <> (p_args ->> 'epoch')::bigint then
        return jsonb_build_object('recorded', false, 'reason', 'epoch_moved');
    end if;
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid;
    if not found or v_connection.environment <> v_run.environment or v_connection.access <> 'read'
        or v_connection.id::text is distinct from (select spec -> 'connections' -> v_connection.provider ->> 'read' from app.workflow_versions
            where tenant_id = v_run.tenant_id and workflow_id = v_run.workflow_id and version = v_run.workflow_version) then
        perform private.fail(403, 'connection_not_readable', 'The run''s workflow reads through no such connection.');
    elsif v_connection.status <> 'active' then
        perform private.fail(409, 'connection_not_active', format('The connection is %s.', v_connection.status));
    elsif not exists (select from private.tools_in_force where name = p_args ->> 'tool' and access = 'read'
        and provider = v_connection.provider and version = (p_args ->> 'contract_version')::integer) then
        perform private.fail(403, 'not_a_read_tool', 'Only read tools in force can be observed with.');
    end if;
    v_switch := private.kill_switch_over(v_principal.tenant_id, v_run.workflow_id, v_connection.id, p_args ->> 'tool',
        case when v_principal.kind = 'service' then v_principal.id end);
    if v_switch.id is not null then
        perform private.fail(409, 'kill_switch_engaged', format('A kill switch covers this: %s', v_switch.reason));
    end if;
    v_hold := private.admit_call(v_connection, p_args ->> 'tool');
    if v_hold is not null then
        return jsonb_build_object('recorded', false, 'reason', v_hold ->> 'reason', 'until', v_hold ->> 'until');
    end if;
    insert into app.observations (tenant_id, id, environment, run_id, tool, contract_version, connection_id, source, status, args, lease_expires_at,
        action_id, purpose)
    values (v_principal.tenant_id, v_id, v_run.environment, v_run.id, p_args ->> 'tool', (p_args ->> 'contract_version')::integer,
        v_connection.id, 'gateway', 'reading', p_args -> 'args', now() + make_interval(secs => (p_args ->> 'lease_seconds')::integer),
        (p_args ->> 'action_id')::uuid, p_args ->> 'purpose');
    return jsonb_build_object('id', v_id,
        'credential', private.release_credential(v_connection, 'observation', v_id, (p_args ->> 'action_id')::uuid, v_run.id));
end
$$;

-- Proposes an action again, unedited, on the world as it is now, and lets it take the place of the old one. Writes nothing and
-- answers with what is new when the facts have moved meanwhile. p_args: {reason, action: as record_action_v1, with moved}
create function private.repropose(p_principal private.principal, p_old app.actions, p_attempt app.attempts, p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_run app.runs;
    v_answer jsonb;
begin
    if coalesce(jsonb_typeof(p_args -> 'action' -> 'moved'), 'null') <> 'array' then
        perform private.fail(422, 'nothing_moved', 'An action is proposed again because something moved: say what.');
    end if;
    perform private.require_environment(p_principal, p_old.environment);
    select * into v_run from app.runs where tenant_id = p_old.tenant_id and id = p_old.run_id;
    v_answer := private.stale_answer(p_principal, v_run, p_args -> 'action', p_old.id);
    if v_answer is not null then
        return v_answer;
    end if;
    if p_attempt.id is not null then
        update app.attempts set status = 'failed', error = p_args ->> 'reason', finished_at = now(),
            response = jsonb_build_object('status', null, 'reached', 'no', 'body', null)
            where tenant_id = p_attempt.tenant_id and id = p_attempt.id;
    end if;
    update app.actions set status = 'superseded', status_reason = p_args ->> 'reason', next_attempt_at = null, updated_at = now()
        where tenant_id = p_old.tenant_id and id = p_old.id;
    return private.insert_action(p_principal, v_run, p_args -> 'action', p_old.edited_by, p_old)
        || jsonb_build_object('supersedes', p_old.id);
end
$$;

-- What was proposed, as it was decided on, with what had moved.
create or replace function private.stored_proposal(p_decision app.decisions, p_action app.actions) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when p_action.id is null then p_decision.proposal else jsonb_build_object('run_id', p_action.run_id, 'tool', p_action.tool,
        'payload', p_action.payload, 'confidence', p_action.confidence, 'rationale', p_action.rationale, 'citations', p_action.citations,
        'evidence', p_action.evidence, 'subject', p_action.subject, 'edited_by', p_action.edited_by, 'moved', p_action.moved,
        'principal', jsonb_build_object('kind', p_action.proposed_by_kind, 'id', p_action.proposed_by)) end
$$;

-- Of an attempt that was not sent, because what its action rests on has moved; never of what an earlier attempt may have done.
-- args: {attempt_id, fence, reason, action}
create function app.repropose_action_v1(p_args jsonb) returns jsonb
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

-- Of a dead letter that a person requeues after something moved. What may have been done is not proposed under another key.
-- args: {action_id, reason, action}
create function app.repropose_dead_letter_v1(p_args jsonb) returns jsonb
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

select private.guard_table('app.actions');
select private.guard_table('app.attempts');
select private.guard_table('app.observations');
revoke all on all functions in schema app, private from public;
grant execute on function app.repropose_action_v1, app.repropose_dead_letter_v1 to authenticated;
