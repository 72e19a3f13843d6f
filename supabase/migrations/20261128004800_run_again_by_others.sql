-- What was done by hand is not done again by a run that is had run again; and a run that is had run again is still that of whoever started
-- the first one and said what it is about.

-- Whether this person started the action's run by a call, or a run that it was had run again for; or, where the tenant separates duties, made
-- the service account that did, or issued a key of it: which of its keys it was is not kept of a run. Who has it run again answers for it, too.
create or replace function private.started_its_run(p_action app.actions, p_user uuid) returns boolean
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

-- As before; nor where a person has done by hand what the failed run proposed, or is still to: an item of the manual queue, or an exception
-- that was answered so, whose actions are denied and cancelled as if nothing had been done. args: {id, run_id, reason}
create or replace function app.restart_run_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_old app.runs;
    v_workflow app.workflows;
    v_told text;
    v_run jsonb;
begin
    if v_principal.kind <> 'user' then
        perform private.fail(403, 'people_only', 'A person has a failed run run again; a key starts one of its own.');
    end if;
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_old from app.runs where tenant_id = v_principal.tenant_id and id = (p_args ->> 'run_id')::uuid for no key update;
    if not found or v_old.environment <> coalesce(v_principal.environment, v_old.environment) then
        perform private.fail(404, 'not_found', 'There is no such run.');
    elsif v_old.driven_by <> 'loop' or v_old.status <> 'failed' then
        perform private.fail(409, 'run_not_failed', format('The run is %s; only what its workflow''s loop drove, and which failed, runs again.', v_old.status));
    elsif v_old.erased_at is not null then
        perform private.fail(409, 'run_erased', 'What this run was told is erased; start a new run.');
    elsif exists (select from app.actions where tenant_id = v_old.tenant_id and run_id = v_old.id
        and status not in ('denied', 'rejected', 'expired', 'cancelled', 'failed', 'superseded')) then
        perform private.fail(409, 'run_has_acted', 'The run has done something, or may still: another one might do it twice. See its actions, and do the rest by hand.');
    elsif exists (select from app.exceptions e join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
        where e.tenant_id = v_old.tenant_id and e.run_id = v_old.id and (e.kind = 'manual' and (e.status = 'open'
            or e.status = 'answered' and e.reproposed_as is null) or e.status = 'answered' and a.status_reason = 'answered by hand')) then
        perform private.fail(409, 'run_has_acted', 'What the run proposed was done by hand, or waits for that: another one might do it twice. Do the rest by hand.');
    end if;
    select * into v_workflow from app.workflows where tenant_id = v_old.tenant_id and id = v_old.workflow_id;
    select spec -> 'loop' ->> 'instruction' || E'\n\n' into v_told from app.workflow_versions
        where tenant_id = v_old.tenant_id and workflow_id = v_old.workflow_id and version = v_old.workflow_version;
    v_run := private.queue_run(v_workflow, (p_args ->> 'id')::uuid, v_old.trigger,
        coalesce(v_old.trigger_detail, '{}') || jsonb_build_object('restarts', v_old.id, 'reason', left(p_args ->> 'reason', 500)),
        case when starts_with(v_old.instruction, v_told) then substr(v_old.instruction, length(v_told) + 1) end,
        v_old.subject, 'restart:' || v_old.id, v_principal.kind, v_principal.id);
    if not (v_run ->> 'started')::boolean then
        perform private.fail(409, 'restarted_already', format('This run was had run again already: see run %s.', v_run ->> 'id'));
    end if;
    perform private.resolve_alert(v_old.tenant_id, 'run.failed', 'run', v_old.id::text, format('It runs again as %s.', v_run ->> 'id'));
    return v_run;
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.restart_run_v1 to authenticated;
