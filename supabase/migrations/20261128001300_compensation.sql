-- Compensation: undoing what was done, by the contract's own compensating tool. An undo is an action like any other, decided by
-- the gate and by people; what is here refuses to keep one that undoes nothing, undoes twice, or undoes somebody else's doing.

-- One undo of an action at a time, and none after one that succeeded. What came to nothing may be tried again.
create unique index actions_one_undo on app.actions (tenant_id, compensates)
    where compensates is not null and status not in ('denied', 'rejected', 'expired', 'superseded', 'cancelled', 'failed');

-- The contract that an action was decided under, whatever is in force by now.
create function private.contract_of(p_action app.actions) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(
        (select contract from private.tool_catalog where name = p_action.tool and version = p_action.contract_version),
        (select contract from app.tenant_tools where tenant_id = p_action.tenant_id and name = p_action.tool and version = p_action.contract_version))
        || jsonb_build_object('version', p_action.contract_version)
$$;

-- The undo of an action that is under way or done, if there is one.
create function private.standing_undo(p_tenant uuid, p_action uuid) returns app.actions
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select a from app.actions a where a.tenant_id = p_tenant and a.compensates = p_action
        and a.status not in ('denied', 'rejected', 'expired', 'superseded', 'cancelled', 'failed')
$$;

-- For every caller, the owner of the table included: only what succeeded is undone, by the tool that its contract names, in the
-- run that did it, and once; and not what is erased, for nobody knows any more with which arguments it was done. What takes the place of an
-- undo (edited, or proposed again) undoes the same.
create function private.guard_compensation() returns trigger
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
create trigger actions_guard_compensation before insert on app.actions
    for each row execute function private.guard_compensation();
select private.guard_table('app.actions');

-- Everything that an undo is made of: the action, the contract that it was done under, what the provider answered, what was there
-- before and what was there after, and the keys that open what was read. Null where nothing was read, or nothing is kept. args: {id}
create function app.describe_undo_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
    v_done app.actions;
    v_undo app.actions;
    v_before app.observations;
    v_after app.observations;
begin
    select * into v_done from app.actions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid;
    if not found or v_done.environment is distinct from coalesce(v_principal.environment, v_done.environment) then
        perform private.fail(404, 'not_found', 'There is no such action.');
    end if;
    v_undo := private.standing_undo(v_done.tenant_id, v_done.id);
    -- What was there before the first attempt that may have had its effect: a later one may have read what that one wrote.
    select * into v_before from app.observations o where o.tenant_id = v_done.tenant_id and o.action_id = v_done.id
        and o.purpose = 'before' and o.status = 'succeeded' and o.created_at <= coalesce((select min(t.sent_at) from app.attempts t
            where t.tenant_id = v_done.tenant_id and t.action_id = v_done.id and t.response ->> 'reached' is distinct from 'no'), now())
        order by o.created_at desc, o.id desc limit 1;
    select * into v_after from app.observations o where o.tenant_id = v_done.tenant_id and o.action_id = v_done.id
        and o.purpose = 'after' and o.status = 'succeeded' order by o.created_at desc, o.id desc limit 1;
    return jsonb_build_object('id', v_done.id, 'tenant_id', v_done.tenant_id, 'run_id', v_done.run_id, 'environment', v_done.environment,
        'tool', v_done.tool, 'status', v_done.status, 'args', v_done.payload::jsonb -> 'args', 'subject', v_done.subject,
        'compensates', v_done.compensates, 'contract', private.contract_of(v_done),
        'workflow', (select slug from app.workflows where tenant_id = v_done.tenant_id and id = v_done.workflow_id),
        'workflow_moved', v_done.workflow_version is distinct from
            (select live_version from app.workflows where tenant_id = v_done.tenant_id and id = v_done.workflow_id),
        'result', (select t.response -> 'body' from app.attempts t where t.tenant_id = v_done.tenant_id and t.action_id = v_done.id
            and t.status = 'succeeded' order by t.number desc limit 1),
        'before', case when v_before.id is not null then private.observation_document(v_before) end,
        'after', case when v_after.id is not null then private.observation_document(v_after) end,
        'keys', private.run_keys_of(v_done.tenant_id, v_done.run_id),
        'undo', case when v_undo.id is not null then jsonb_build_object('id', v_undo.id, 'status', v_undo.status) end);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.describe_undo_v1 to authenticated;
