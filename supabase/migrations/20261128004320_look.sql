-- What an action would change may be looked at while it waits for a person: a read through the gateway like any other one, made
-- for this action (`look`, see private.run_to_read_in), so that whoever decides sees what is there now and not only what the agent saw.

create index observations_looks_by_connection on app.observations (tenant_id, connection_id, created_at) where purpose = 'look';

-- The run that a read belongs to. What is read for an action that is being executed or looked after may be read when its run is completed,
-- by the scheduled functions alone. What waits for a person is looked at while its exception is open, whatever its run is by then; each look
-- takes of what its provider allows, so nobody looks at one action without end, and many who look at many over one connection leave enough
-- for what was approved, also where its manifest declares no limit. Volatile, so that it counts what was there when its locks were.
create function private.run_to_read_in(p_principal private.principal, p_args jsonb) returns app.runs
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_run app.runs;
    v_first timestamptz;
begin
    if p_args ->> 'action_id' is null then
        return private.active_run(p_principal, (p_args ->> 'run_id')::uuid);
    elsif p_principal.kind <> 'system' then
        perform private.fail(403, 'permission_denied', 'Only the executor reads for an action.');
    elsif p_args ->> 'purpose' = 'look' then
        select r.* into v_run from app.exceptions e
            join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
            join app.runs r on r.tenant_id = a.tenant_id and r.id = a.run_id
            where e.tenant_id = p_principal.tenant_id and a.id = (p_args ->> 'action_id')::uuid and a.run_id = (p_args ->> 'run_id')::uuid
                and e.status = 'open';
        if not found then
            perform private.fail(409, 'not_waiting', 'This does not wait for a decision any more, so it is not looked at for one.');
        end if;
        -- Held to the end, before any other lock: who looks at the same moment counts this look, too. The action's before the
        -- connection's, whoever looks.
        perform pg_advisory_xact_lock(hashtextextended('look ' || (p_args ->> 'action_id'), 0));
        perform pg_advisory_xact_lock(hashtextextended('look over ' || (p_args ->> 'connection_id'), 0));
        select min(created_at) into v_first from app.observations where tenant_id = v_run.tenant_id
            and action_id = (p_args ->> 'action_id')::uuid and purpose = 'look' and created_at > now() - interval '1 hour'
            having count(*) >= 60;
        if v_first is not null then
            perform private.fail_until(v_first + interval '1 hour', 'too_many_looks', 'This was looked at 60 times within an hour.');
        end if;
        select min(created_at) into v_first from app.observations where tenant_id = v_run.tenant_id
            and connection_id = (p_args ->> 'connection_id')::uuid and purpose = 'look' and created_at > now() - interval '1 hour'
            having count(*) >= 600;
        if v_first is not null then
            perform private.fail_until(v_first + interval '1 hour', 'too_many_looks',
                'There were 600 looks over this connection within an hour; the rest of its calls are for what was approved.');
        end if;
        return v_run;
    end if;
    select r.* into v_run from app.actions a join app.runs r on r.tenant_id = a.tenant_id and r.id = a.run_id
        where a.tenant_id = p_principal.tenant_id and a.id = (p_args ->> 'action_id')::uuid and a.run_id = (p_args ->> 'run_id')::uuid
            and a.status in ('executing', 'unknown', 'succeeded');
    if not found then
        perform private.fail(404, 'not_found', 'There is no such action under way in this run.');
    end if;
    return v_run;
end
$$;

-- That a person looked, with the reads that it took: kept under the request's key, so that the same request looks once.
-- args: {exception_id, observations: [id]}
create function app.note_look_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
    v_action uuid;
begin
    select action_id into v_action from app.exceptions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'exception_id')::uuid
        and environment = coalesce(v_principal.environment, environment);
    if not found or (select count(*) from app.observations where tenant_id = v_principal.tenant_id and action_id = v_action
        and purpose = 'look' and id::text in (select jsonb_array_elements_text(p_args -> 'observations')))
        <> jsonb_array_length(p_args -> 'observations') then
        perform private.fail(404, 'not_found', 'There is no such exception, or these are not reads of it.');
    end if;
    return jsonb_build_object('exception_id', p_args ->> 'exception_id', 'observations', p_args -> 'observations');
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.note_look_v1 to authenticated;
