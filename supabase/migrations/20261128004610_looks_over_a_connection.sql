-- Looks are bounded over a connection as well, so that many people who look at many actions leave of what its provider allows enough
-- for what was approved, also where its manifest declares no limit.

create index observations_looks_by_connection on app.observations (tenant_id, connection_id, created_at) where purpose = 'look';

-- As it was; and so many looks an hour over one connection, whatever they are at.
create or replace function private.run_to_read_in(p_principal private.principal, p_args jsonb) returns app.runs
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

revoke all on all functions in schema app, private from public;
