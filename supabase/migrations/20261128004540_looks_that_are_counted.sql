-- What a review of the queue and of looks changed.

-- As it was; what is worth more than a number holds is worth that number, so that it is recorded, and comes first.
create or replace function private.worth_of(p_class jsonb) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when jsonb_typeof(p_class -> 'worth') = 'object' then
        (select least(min(value::numeric), 9223372036854775807)::bigint from jsonb_each_text(p_class -> 'worth') having count(*) = 1) end
$$;

-- As it was, and so many looks an hour also where many come at once. Volatile, so that it counts what was there when its lock was.
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
        -- Held to the end, before any other lock: who looks at the same moment counts this look, too.
        perform pg_advisory_xact_lock(hashtextextended('look ' || (p_args ->> 'action_id'), 0));
        select min(created_at) into v_first from app.observations where tenant_id = v_run.tenant_id
            and action_id = (p_args ->> 'action_id')::uuid and purpose = 'look' and created_at > now() - interval '1 hour'
            having count(*) >= 60;
        if v_first is not null then
            perform private.fail_until(v_first + interval '1 hour', 'too_many_looks', 'This was looked at 60 times within an hour.');
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
grant execute on function private.worth_of to authenticated;
