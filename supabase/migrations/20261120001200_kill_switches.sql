-- Engaging, listing and releasing kill switches; the table and its guards are with the workflows.

-- Engages a kill switch. Answers what it stopped and what was already in flight and could not be stopped.
-- args: {id, scope, target, reason}
create function app.engage_kill_switch_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('kill_switches.engage');
    v_switch app.kill_switches;
begin
    -- A key stops itself, and what is in its own environment; a person stops anything.
    if v_principal.environment is not null and not (case p_args ->> 'scope'
        when 'workflow' then exists (select from app.workflows where tenant_id = v_principal.tenant_id
            and id::text = p_args ->> 'target' and environment = v_principal.environment)
        when 'connection' then exists (select from app.connections where tenant_id = v_principal.tenant_id
            and id::text = p_args ->> 'target' and environment = v_principal.environment)
        when 'service_account' then p_args ->> 'target' = v_principal.id::text
        else false end) then
        perform private.fail(403, 'wrong_environment', 'A key stops itself, and workflows and connections of its own environment.');
    end if;
    insert into app.kill_switches (tenant_id, id, scope, target, reason, engaged_by)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, p_args ->> 'scope', p_args ->> 'target', p_args ->> 'reason', v_principal.id)
    returning * into v_switch;
    return private.kill_switch_document(v_switch);
end
$$;

create function private.kill_switch_document(p_switch app.kill_switches) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with covered as (
        select id, status from app.actions a
        where a.tenant_id = p_switch.tenant_id and a.status in ('awaiting_approval', 'authorized', 'executing')
            and a.environment = coalesce((select private.current_environment()), a.environment) and (
            p_switch.scope = 'tenant'
            or (p_switch.scope = 'workflow' and a.workflow_id::text = p_switch.target)
            or (p_switch.scope = 'connection' and a.connection_id::text = p_switch.target)
            or (p_switch.scope = 'tool' and a.tool = p_switch.target)
            or (p_switch.scope = 'service_account' and a.proposed_by_kind = 'service' and a.proposed_by::text = p_switch.target))
    )
    select jsonb_build_object('id', p_switch.id, 'scope', p_switch.scope, 'target', p_switch.target, 'status', p_switch.status,
        'reason', p_switch.reason, 'engaged_at', p_switch.engaged_at, 'released_at', p_switch.released_at,
        'stopped', (select coalesce(jsonb_agg(id order by id), '[]') from covered where status <> 'executing'),
        'in_flight', (select coalesce(jsonb_agg(id order by id), '[]') from covered where status = 'executing'))
$$;

-- Kill switches of the tenant, newest first. args: {status?}
create function app.list_kill_switches_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('kill_switches.read');
begin
    return (select coalesce(jsonb_agg(private.kill_switch_document(k) order by k.engaged_at desc), '[]') from app.kill_switches k
        where k.tenant_id = v_principal.tenant_id and k.status = coalesce(p_args ->> 'status', k.status));
end
$$;

-- Releases a kill switch: a person with a second factor. args: {id, reason}
create function app.release_kill_switch_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('kill_switches.release');
    v_switch app.kill_switches;
begin
    update app.kill_switches set status = 'released', released_by = v_principal.id, released_at = now(), release_reason = p_args ->> 'reason'
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid returning * into v_switch;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such kill switch.');
    end if;
    return private.kill_switch_document(v_switch);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.engage_kill_switch_v1, app.list_kill_switches_v1, app.release_kill_switch_v1 to authenticated;
