-- A run that failed is a person's: he is told by its alert, and has it run again when what kept it is put right. Its event is taken
-- for good, so that the provider's own redelivery starts nothing.

-- Queues a run of the live version for the same event and words, once for each failed run, and closes its alert. Not where the failed
-- one has done anything, or may still: reads and thought are repeated, an effect never is. args: {id, run_id, reason}
create function app.restart_run_v1(p_args jsonb) returns jsonb
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
