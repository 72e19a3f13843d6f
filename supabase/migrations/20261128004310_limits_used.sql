-- How much of what a provider allows is used by a connection, beside whether its calls are made: what a person asks who wonders why
-- something waits.

-- The limits of a connection's provider as [{name, requests, seconds, per, at_once, used, resets_at}], the longest first.
-- A quota (longer than an hour) counts the calls of a window that begins with its first call: used of requests, until the window
-- ends. A rate keeps no count, only how far its calls have run ahead of an even pace: used says how many of the `at_once` calls
-- that may come at once are gone, and grows less by itself; at at_once the next call waits. resets_at: when used is 0, if nothing
-- is called until then; null when it is. The numbers are those of private.meter_call.
create function private.limits_used(p_connection app.connections) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('name', l.name, 'requests', l.requests, 'seconds', l.seconds, 'per', l.per,
        'at_once', case when r.rate then r.burst end,
        'used', case when r.rate then greatest(0, least(r.burst, ceil(r.ahead / r.step))) when r.lasts then coalesce(m.used, 0) else 0 end,
        'resets_at', case when r.rate then case when r.ahead > 0 then m.due_at end when r.lasts and m.used > 0 then r.ends end)
        order by l.seconds desc, l.name), '[]')
    from private.provider_limits l
    left join private.call_meters m on m.tenant_id = p_connection.tenant_id and m.subject = private.metered(p_connection, l) and m.name = l.name
    cross join lateral (select greatest(1, l.requests / 5) as burst, l.seconds <= 3600 as rate) b
    cross join lateral (select b.burst, b.rate, l.seconds::numeric / (l.requests - b.burst + 1) as step,
        -- Infinite where nothing was called yet.
        coalesce(extract(epoch from nullif(m.due_at, '-infinity') - clock_timestamp()), 0) as ahead,
        coalesce(m.window_at + make_interval(secs => l.seconds) > clock_timestamp(), false) as lasts,
        m.window_at + make_interval(secs => l.seconds) as ends) r
    where l.provider = p_connection.provider and coalesce(l.environment, p_connection.environment) = p_connection.environment
$$;

-- As it was, with what is used of its provider's limits. args: {id?}
create or replace function app.list_connections_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.read');
begin
    return (select coalesce(jsonb_agg(to_jsonb(r) order by r.created_at desc, r.id desc), '[]') from (
        select c.id, c.provider, c.environment, c.access, c.status, c.status_reason, c.scopes_requested, c.scopes_granted, c.account,
            c.parameters, c.created_by, c.created_at, c.consent_expires_at,
            case when k.secret_id is not null then k.token_expires_at end as token_expires_at,
            case when k.secret_id is not null then k.refresh_expires_at end as refresh_expires_at,
            k.refreshed_at as last_refreshed_at, k.refresh_failures,
            (select max(u.at) from app.credential_releases u where u.tenant_id = c.tenant_id and u.connection_id = c.id
                and u.purpose in ('attempt', 'observation')) as last_used_at,
            private.disconnect_document(d) as disconnect,
            private.circuit_document(f) as circuit,
            private.limits_used(c) as limits
        from app.connections c
        left join app.credentials k on k.tenant_id = c.tenant_id and k.connection_id = c.id
        left join app.disconnections d on d.tenant_id = c.tenant_id and d.connection_id = c.id
        left join private.connection_flow f on f.tenant_id = c.tenant_id and f.connection_id = c.id
        where c.tenant_id = v_principal.tenant_id and c.environment = coalesce(v_principal.environment, c.environment)
            and c.id = coalesce((p_args ->> 'id')::uuid, c.id)
        order by c.created_at desc, c.id desc limit 200) r);
end
$$;

revoke all on all functions in schema app, private from public;
