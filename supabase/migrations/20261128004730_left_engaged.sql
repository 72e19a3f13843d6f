-- What is stopped and forgotten: a kill switch that has been engaged for a day is an alert, and again every day, until it is released.

create index kill_switches_by_age on app.kill_switches (engaged_at) where status = 'engaged';

-- Engaged kill switches of any tenant that are a day old and of which nobody was told within a day, as ids, the oldest first.
create function app.claim_left_kill_switches_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', l.tenant_id, 'id', l.id)), '[]') from (
        select k.tenant_id, k.id from app.kill_switches k
        where k.status = 'engaged' and k.engaged_at < clock_timestamp() - interval '1 day' and not exists (select from app.alerts a
            where a.tenant_id = k.tenant_id and a.kind = 'kill_switch.left_engaged' and a.subject_type = 'kill_switch'
                and a.subject_id = k.id::text and a.last_raised_at > clock_timestamp() - interval '1 day')
        order by k.engaged_at limit p_limit) l
$$;

-- Tells whoever engaged it, or who answers for the organisation, that a kill switch is still engaged. args: {id}
create function app.tell_left_kill_switch_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('alerts.raise');
    v_switch app.kill_switches;
begin
    select * into v_switch from app.kill_switches where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid
        and status = 'engaged' and engaged_at < clock_timestamp() - interval '1 day' for share;
    if not found then
        return '{"recorded": false}';
    end if;
    perform private.raise_alert(v_switch.tenant_id, null, 'kill_switch.left_engaged', 'warning', 'kill_switch', v_switch.id::text,
        format('A kill switch over %s is still engaged; release it when what it stopped may go on.', case v_switch.scope
            when 'tenant' then 'the whole organisation' when 'service_account' then 'a service account' else 'a ' || v_switch.scope end),
        jsonb_build_object('scope', v_switch.scope, 'target', v_switch.target, 'engaged_at', v_switch.engaged_at, 'stage', v_switch.stage),
        v_switch.engaged_by);
    return '{"recorded": true}';
end
$$;

create function private.switch_is_released() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.resolve_alert(new.tenant_id, 'kill_switch.left_engaged', 'kill_switch', new.id::text, 'It was released.');
    return null;
end
$$;
create trigger kill_switches_tell_release after update on app.kill_switches
    for each row when (old.status = 'engaged' and new.status = 'released') execute function private.switch_is_released();
select private.guard_table('app.kill_switches');

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_left_kill_switches_v1 to countersign_worker;
grant execute on function app.tell_left_kill_switch_v1 to authenticated;
