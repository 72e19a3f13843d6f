-- Admission: how fast and how often a connection may be used, held across all instances, and whether its provider answers at all.
-- What is counted here is bookkeeping: it changes no decision, and no row of the audit log speaks of it.

-- What a provider's documentation allows, as its manifest says; published with the tools, by the owner alone.
-- per: each connection by itself, or all that the tenant has to one account there. Up to an hour it is a rate, beyond it a quota.
create table private.provider_limits (
    provider text not null,
    name text not null check (name ~ '^[a-z][a-z0-9_]{0,39}$'),
    requests integer not null check (requests between 1 and 10000000),
    seconds integer not null check (seconds between 1 and 2678400),
    per text not null check (per in ('connection', 'account')),
    environment text check (environment in ('sandbox', 'production')),
    primary key (provider, name)
);
revoke all on private.provider_limits from public;

-- How much of a limit is used. A rate keeps one time (GCRA): the earliest at which the next call is due when calls come evenly.
-- A quota counts the calls of a window that begins with its first call.
create table private.call_meters (
    tenant_id uuid not null references app.tenants,
    subject text not null,
    name text not null,
    due_at timestamptz not null default '-infinity',
    window_at timestamptz not null default '-infinity',
    used integer not null default 0,
    primary key (tenant_id, subject, name)
);
revoke all on private.call_meters from public;

-- closed_until: the provider said so (429, Retry-After). circuit: closed is well; open makes no call until open_until; half_open
-- makes one at a time, and the first that is answered closes it.
create table private.connection_flow (
    tenant_id uuid not null,
    connection_id uuid not null,
    closed_until timestamptz not null default '-infinity',
    circuit text not null default 'closed' check (circuit in ('closed', 'open', 'half_open')),
    open_until timestamptz not null default '-infinity',
    opened_at timestamptz,
    openings integer not null default 0,
    probe_until timestamptz not null default '-infinity',
    failures integer not null default 0,
    window_at timestamptz not null default '-infinity',
    window_calls integer not null default 0,
    window_failures integer not null default 0,
    primary key (tenant_id, connection_id),
    foreign key (tenant_id, connection_id) references app.connections (tenant_id, id)
);
revoke all on private.connection_flow from public;

-- The numbers of the circuit breaker, in this one place.
-- consecutive: five in a row without an answer are no accident of the network, and fewer than the six attempts of one action.
-- window_*: of a busy connection, half of at least twenty calls within a minute; fewer calls say nothing about a share.
-- opens_for: a restart at the provider takes about as long; it doubles with each probe that fails, up to longest, so that a long
-- outage is asked twelve times an hour. probe_seconds: longer than any call may take; a probe whose function died is given up then.
create function private.circuit_rules(out consecutive integer, out window_seconds integer, out window_calls integer, out window_share numeric,
    out opens_for integer, out longest integer, out probe_seconds integer)
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select 5, 60, 20, 0.5, 10, 300, 90
$$;

-- What the meter of a limit belongs to. An account that the provider did not name is no more than its connection.
create function private.metered(p_connection app.connections, p_limit private.provider_limits) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when p_limit.per = 'account' and p_connection.account ->> 'id' is not null
        then concat_ws('/', p_connection.provider, p_connection.environment, p_connection.account ->> 'id') else p_connection.id::text end
$$;

-- The row of a connection, locked until the transaction ends.
create function private.flow_of(p_tenant uuid, p_connection uuid) returns private.connection_flow
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_flow private.connection_flow;
begin
    select * into v_flow from private.connection_flow where tenant_id = p_tenant and connection_id = p_connection for update;
    if not found then
        insert into private.connection_flow (tenant_id, connection_id) values (p_tenant, p_connection) on conflict do nothing;
        select * into v_flow from private.connection_flow where tenant_id = p_tenant and connection_id = p_connection for update;
    end if;
    return v_flow;
end
$$;

-- Counts a call on a meter, or says until when there is no room for it. Of a rate of n in s seconds no n + 1 calls ever fall into s
-- seconds: a fifth of them may come at once, the others come evenly.
create function private.meter_call(p_tenant uuid, p_subject text, p_limit private.provider_limits, p_now timestamptz) returns timestamptz
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_meter private.call_meters;
    v_burst integer := greatest(1, p_limit.requests / 5);
    v_step interval := make_interval(secs => p_limit.seconds::double precision / (p_limit.requests - v_burst + 1));
    v_from timestamptz;
begin
    insert into private.call_meters (tenant_id, subject, name) values (p_tenant, p_subject, p_limit.name) on conflict do nothing;
    select * into v_meter from private.call_meters where tenant_id = p_tenant and subject = p_subject and name = p_limit.name for update;
    if p_limit.seconds <= 3600 then
        v_from := v_meter.due_at - v_step * (v_burst - 1);
        if v_from > p_now then
            return v_from;
        end if;
        update private.call_meters set due_at = greatest(due_at, p_now) + v_step
            where tenant_id = p_tenant and subject = p_subject and name = p_limit.name;
    elsif v_meter.window_at + make_interval(secs => p_limit.seconds) <= p_now then
        update private.call_meters set window_at = p_now, used = 1
            where tenant_id = p_tenant and subject = p_subject and name = p_limit.name;
    elsif v_meter.used >= p_limit.requests then
        return v_meter.window_at + make_interval(secs => p_limit.seconds);
    else
        update private.call_meters set used = used + 1
            where tenant_id = p_tenant and subject = p_subject and name = p_limit.name;
    end if;
    return null;
end
$$;

-- Whether a call may be made through a connection now; if so, it is counted. Called by every claim, which alone releases a credential.
-- Null, or {reason, until}: `provider_rate_limited`, `circuit_open`, `rate_limited`. What one limit counted before another one refused stays
-- counted: it errs on the side of fewer calls.
create function private.admit_call(p_connection app.connections, p_tool text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_flow private.connection_flow := private.flow_of(p_connection.tenant_id, p_connection.id);
    v_now timestamptz := clock_timestamp();
    v_limit private.provider_limits;
    v_until timestamptz;
begin
    if v_flow.closed_until > v_now then
        return jsonb_build_object('reason', 'provider_rate_limited', 'until', v_flow.closed_until);
    elsif v_flow.circuit = 'open' and v_flow.open_until > v_now then
        return jsonb_build_object('reason', 'circuit_open', 'until', v_flow.open_until);
    elsif v_flow.circuit = 'half_open' and v_flow.probe_until > v_now then
        return jsonb_build_object('reason', 'circuit_open', 'until', least(v_flow.probe_until, v_now + interval '5 seconds'));
    end if;
    for v_limit in select * from private.provider_limits where provider = p_connection.provider
            and coalesce(environment, p_connection.environment) = p_connection.environment order by seconds desc, name loop
        v_until := private.meter_call(p_connection.tenant_id, private.metered(p_connection, v_limit), v_limit, v_now);
        if v_until is not null then
            return jsonb_build_object('reason', 'rate_limited', 'until', v_until);
        end if;
    end loop;
    if v_flow.circuit <> 'closed' then
        update private.connection_flow set circuit = 'half_open', probe_until = v_now + make_interval(secs => (private.circuit_rules()).probe_seconds)
            where tenant_id = v_flow.tenant_id and connection_id = v_flow.connection_id;
    end if;
    return null;
end
$$;

-- Whoever answers for the version of a workflow that a run belongs to.
create function private.owner_of_run(p_tenant uuid, p_run uuid) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select left(v.spec ->> 'owner', 320) from app.runs r join app.workflow_versions v
        on v.tenant_id = r.tenant_id and v.workflow_id = r.workflow_id and v.version = r.workflow_version
    where r.tenant_id = p_tenant and r.id = p_run
$$;

-- Opens a circuit, and tells whoever answers for the workflow that met it.
create function private.open_circuit(p_flow private.connection_flow, p_run uuid, p_now timestamptz) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_rules record := private.circuit_rules();
    v_connection app.connections;
    v_until timestamptz := p_now + make_interval(secs => least(v_rules.longest, v_rules.opens_for * 2 ^ least(p_flow.openings, 10)));
begin
    update private.connection_flow set circuit = 'open', open_until = v_until, opened_at = coalesce(opened_at, p_now), openings = openings + 1,
        probe_until = '-infinity', failures = 0, window_at = '-infinity', window_calls = 0, window_failures = 0
        where tenant_id = p_flow.tenant_id and connection_id = p_flow.connection_id;
    select * into v_connection from app.connections where tenant_id = p_flow.tenant_id and id = p_flow.connection_id;
    perform private.raise_alert(p_flow.tenant_id, v_connection.environment, 'connection.circuit_open', 'warning', 'connection', v_connection.id::text,
        format('%s does not answer; calls through its %s connection wait.', v_connection.provider, v_connection.access),
        jsonb_build_object('provider', v_connection.provider, 'access', v_connection.access, 'next_call_at', v_until), null,
        private.owner_of_run(p_flow.tenant_id, p_run));
end
$$;

-- What a call says of its connection. p_health: `well` (it answered, if only to refuse), `failed` (no answer, or 5xx), or null when it
-- says nothing. p_retry_after: seconds for which the provider wants no call; nobody makes one then, for an hour at most.
create function private.note_call(p_tenant uuid, p_connection uuid, p_run uuid, p_health text, p_retry_after numeric) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_flow private.connection_flow;
    v_rules record := private.circuit_rules();
    v_now timestamptz;
begin
    if p_connection is null or coalesce(p_health, '') not in ('well', 'failed') and coalesce(p_retry_after, 0) <= 0 then
        return;
    end if;
    v_flow := private.flow_of(p_tenant, p_connection);
    v_now := clock_timestamp();
    if p_retry_after > 0 then
        update private.connection_flow set closed_until = greatest(closed_until, v_now + make_interval(secs => least(p_retry_after, 3600)::double precision))
            where tenant_id = p_tenant and connection_id = p_connection;
    end if;
    if coalesce(p_health, '') not in ('well', 'failed') or v_flow.circuit = 'open' then
        return;  -- an answer to what was sent before it opened is no probe
    elsif p_health = 'well' and v_flow.circuit = 'half_open' then
        update private.connection_flow set circuit = 'closed', open_until = '-infinity', opened_at = null, openings = 0, probe_until = '-infinity'
            where tenant_id = p_tenant and connection_id = p_connection;
        perform private.resolve_alert(p_tenant, 'connection.circuit_open', 'connection', p_connection::text, 'The provider answers again.');
        return;
    elsif v_flow.circuit = 'half_open' then
        perform private.open_circuit(v_flow, p_run, v_now);
        return;
    end if;
    if v_flow.window_at + make_interval(secs => v_rules.window_seconds) <= v_now then
        v_flow.window_at := v_now;
        v_flow.window_calls := 0;
        v_flow.window_failures := 0;
    end if;
    v_flow.failures := case p_health when 'failed' then v_flow.failures + 1 else 0 end;
    v_flow.window_calls := v_flow.window_calls + 1;
    v_flow.window_failures := v_flow.window_failures + (p_health = 'failed')::integer;
    if v_flow.failures >= v_rules.consecutive or v_flow.window_calls >= v_rules.window_calls
        and v_flow.window_failures >= v_rules.window_share * v_flow.window_calls then
        perform private.open_circuit(v_flow, p_run, v_now);
        return;
    end if;
    update private.connection_flow set failures = v_flow.failures, window_at = v_flow.window_at, window_calls = v_flow.window_calls,
        window_failures = v_flow.window_failures where tenant_id = p_tenant and connection_id = p_connection;
end
$$;

-- What a read that failed says of its connection; one that succeeded says it by itself, and an attempt when it is settled.
-- args: {observation_id, health, retry_after}
create function app.note_read_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_row app.observations;
begin
    select * into v_row from app.observations where tenant_id = v_principal.tenant_id and id = (p_args ->> 'observation_id')::uuid
        and environment = coalesce(v_principal.environment, environment) and source = 'gateway' and status = 'reading';
    if not found then
        perform private.fail(404, 'not_found', 'There is no such read under way.');
    end if;
    perform private.note_call(v_row.tenant_id, v_row.connection_id, v_row.run_id, p_args ->> 'health', (p_args ->> 'retry_after')::numeric);
    return '{}';
end
$$;

create function private.note_successful_read() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.note_call(new.tenant_id, new.connection_id, new.run_id, 'well', null);
    return null;
end
$$;
create trigger observations_say_well after update on app.observations for each row
    when (old.status = 'reading' and new.status = 'succeeded' and new.source = 'gateway') execute function private.note_successful_read();

-- How a connection is used now, for people: {state, since, next_call_at}.
create function private.circuit_document(p_flow private.connection_flow) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('state', coalesce(p_flow.circuit, 'closed'), 'since', p_flow.opened_at,
        'next_call_at', case when greatest(p_flow.closed_until, p_flow.open_until) > now() then greatest(p_flow.closed_until, p_flow.open_until) end)
$$;

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

-- The connections of the tenant, or one, with the circuit of each and what is used of its provider's limits. args: {id?}
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

select private.guard_table('app.observations');
revoke all on all functions in schema app, private from public;
grant execute on function app.note_read_v1 to authenticated;
