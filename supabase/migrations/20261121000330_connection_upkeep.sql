-- Refreshing, keeping grants alive that lie idle, counting down to their end; and what people see of it.

-- A refresh that failed goes behind the others: 10 minutes, 20, and so on up to a day.
create function private.refresh_pause(p_failures integer) returns interval
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select least(interval '5 minutes' * 2 ^ least(p_failures, 20), interval '1 day')
$$;

-- Releases a credential that a live attempt or observation already holds, to exchange it for a fresh one; one at a time
-- per connection. Answers {claimed: false} while somebody else does, and {claimed: true, fresh: true} with what somebody
-- else has stored since the generation that the caller holds. args: {connection_id, claimed_for, generation}
create or replace function app.claim_refresh_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_connection app.connections;
    v_for uuid := (p_args ->> 'claimed_for')::uuid;
    v_fresh boolean;
begin
    -- The lock makes a disconnect wait, so that whoever refreshes is known to it.
    perform private.lock_tenant(v_principal.tenant_id, false);
    select c.* into v_connection from app.connections c
        where c.tenant_id = v_principal.tenant_id and c.id = (p_args ->> 'connection_id')::uuid and c.status in ('active', 'degraded')
            and (exists (select from app.attempts t join app.actions a on a.tenant_id = t.tenant_id and a.id = t.action_id
                    where t.tenant_id = c.tenant_id and t.id = v_for and t.status = 'executing' and a.connection_id = c.id
                        and t.lease_expires_at > clock_timestamp())
                or exists (select from app.observations o
                    where o.tenant_id = c.tenant_id and o.id = v_for and o.status = 'reading' and o.connection_id = c.id
                        and o.lease_expires_at > clock_timestamp()));
    if not found then
        perform private.fail(403, 'no_live_claim', 'No live attempt or observation holds this credential.');
    end if;
    select generation <> coalesce((p_args ->> 'generation')::integer, generation) into v_fresh from app.credentials
        where tenant_id = v_connection.tenant_id and connection_id = v_connection.id for update;
    if not v_fresh then
        update app.credentials set refresh_lease_until = now() + interval '30 seconds'
            where tenant_id = v_connection.tenant_id and connection_id = v_connection.id
                and (refresh_lease_until is null or refresh_lease_until < now());
        if not found then
            return jsonb_build_object('claimed', false);
        end if;
    end if;
    return jsonb_build_object('claimed', true, 'fresh', v_fresh, 'credential', private.release_credential(v_connection, 'refresh', v_for,
        (select action_id from app.attempts where tenant_id = v_connection.tenant_id and id = v_for),
        (select run_id from app.observations where tenant_id = v_connection.tenant_id and id = v_for)));
end
$$;

-- Releases a credential that is due to be refreshed although nobody calls with it. Whether it is due is the row's to say.
-- Answers {claimed: false} when it is not, or somebody refreshes it now. args: {connection_id}
create function app.claim_keep_alive_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_connection app.connections;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_connection from app.connections where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'connection_id')::uuid and status in ('active', 'degraded');
    update app.credentials set refresh_lease_until = now() + interval '30 seconds'
        where tenant_id = v_connection.tenant_id and connection_id = v_connection.id and secret_id is not null and renew_at <= now()
            and (refresh_lease_until is null or refresh_lease_until < now());
    if not found then
        return jsonb_build_object('claimed', false);
    end if;
    return jsonb_build_object('claimed', true, 'fresh', false,
        'credential', private.release_credential(v_connection, 'keep_alive', v_connection.id, null, null));
end
$$;

-- A refresh that failed: others may try at once, the schedule after a pause, and from the third time on somebody is told. A final
-- refusal by the provider ends the connection; its tokens are of no use any more and are destroyed. Of no effect when somebody
-- has stored a newer generation meanwhile. args: {connection_id, generation, reason, final}
create or replace function app.fail_refresh_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_credential app.credentials;
    v_connection app.connections;
    v_final boolean := (p_args ->> 'final')::boolean;
begin
    if v_final then
        perform private.lock_tenant(v_principal.tenant_id, true);  -- the connection's end raises the epoch
    end if;
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid for no key update;
    select * into v_credential from app.credentials where tenant_id = v_principal.tenant_id
        and connection_id = v_connection.id and generation = (p_args ->> 'generation')::integer for update;
    if not found then
        return jsonb_build_object('recorded', false);
    end if;
    update app.credentials set refresh_lease_until = null, updated_at = now(), refresh_failures = refresh_failures + 1,
        renew_at = case when renew_at is not null then greatest(renew_at, now() + private.refresh_pause(refresh_failures + 1)) end
        where tenant_id = v_credential.tenant_id and connection_id = v_credential.connection_id returning * into v_credential;
    if v_final and v_connection.status in ('active', 'degraded') then
        perform private.destroy_secret(v_credential.tenant_id, v_credential.connection_id);
        update app.connections set status = 'expired', status_reason = left(p_args ->> 'reason', 1000)
            where tenant_id = v_connection.tenant_id and id = v_connection.id;
    elsif v_credential.refresh_failures >= 3 and v_connection.status in ('active', 'degraded') then
        perform private.raise_alert(v_connection.tenant_id, v_connection.environment, 'connection.refresh_failing', 'warning', 'connection',
            v_connection.id::text, format('The %s connection to %s gets no fresh tokens.', v_connection.access, v_connection.provider),
            jsonb_build_object('provider', v_connection.provider, 'access', v_connection.access, 'reason', left(p_args ->> 'reason', 1000)),
            v_connection.created_by);
    end if;
    return jsonb_build_object('connection_id', v_credential.connection_id, 'final', v_final);
end
$$;

-- When a grant ends as far as anybody knows: with the consent; or with a refresh token that nobody could renew in time.
create function private.grant_ends_at(p_connection app.connections, p_credential app.credentials) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
    select least(p_connection.consent_expires_at, case when p_credential.refresh_expires_at < now() + interval '1 day'
        then greatest(p_credential.refresh_expires_at, p_credential.token_expires_at) end)
$$;

-- Which of the steps 30, 14, 7 and 1 days before the end has come; 0 at the end, null before all of them.
create function private.countdown_step(p_ends_at timestamptz) returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
    select min(days) from unnest(array[0, 1, 7, 14, 30]) days where p_ends_at <= now() + make_interval(days => days)
$$;

-- Tells whoever answers for a connection that its consent ends, at each step once; at the end, the connection expires and its
-- secret is destroyed. args: {connection_id}
create function app.count_down_connection_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_connection app.connections;
    v_credential app.credentials;
    v_ends_at timestamptz;
    v_step integer;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    select * into v_connection from app.connections where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'connection_id')::uuid and status in ('active', 'degraded') for no key update;
    select * into v_credential from app.credentials
        where tenant_id = v_connection.tenant_id and connection_id = v_connection.id for update;
    v_ends_at := private.grant_ends_at(v_connection, v_credential);
    v_step := private.countdown_step(v_ends_at);
    if v_step is null or v_step >= coalesce(v_credential.warned_days, 31) then
        return jsonb_build_object('step', null);
    elsif v_step = 0 then
        perform private.destroy_secret(v_connection.tenant_id, v_connection.id);
        update app.connections set status = 'expired', status_reason = format('The consent ended on %s; sign in again.', (v_ends_at at time zone 'utc')::date)
            where tenant_id = v_connection.tenant_id and id = v_connection.id;
        return jsonb_build_object('step', 0);
    end if;
    update app.credentials set warned_days = v_step, updated_at = now()
        where tenant_id = v_credential.tenant_id and connection_id = v_credential.connection_id;
    perform private.raise_alert(v_connection.tenant_id, v_connection.environment, 'connection.consent_ending',
        case v_step when 1 then 'critical' when 30 then 'info' else 'warning' end, 'connection', v_connection.id::text,
        format('The %s connection to %s ends within %s; somebody has to sign in again.', v_connection.access, v_connection.provider,
            case v_step when 1 then 'a day' else v_step || ' days' end),
        jsonb_build_object('provider', v_connection.provider, 'access', v_connection.access, 'days', v_step, 'ends_at', v_ends_at),
        v_connection.created_by);
    return jsonb_build_object('step', v_step);
end
$$;

-- What the schedule has to do for connections of any tenant, as ids; `work` is revoke, countdown or renew. Tenants take turns, and what
-- the provider keeps refusing is put off by its own row.
create function app.claim_connection_upkeep_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', w.tenant_id, 'connection_id', w.connection_id, 'work', w.work)), '[]') from (
        select d.* from (
            select tenant_id, connection_id, 'revoke' as work, next_attempt_at as due from app.disconnections
                where status = 'revoking' and next_attempt_at <= now() and (lease_until is null or lease_until <= now())
            union all
            select c.tenant_id, c.id, 'countdown', private.grant_ends_at(c, k) from app.connections c
                join app.credentials k on k.tenant_id = c.tenant_id and k.connection_id = c.id
                where c.status in ('active', 'degraded') and (c.consent_expires_at is not null or k.refresh_expires_at is not null)
                    and private.countdown_step(private.grant_ends_at(c, k)) < coalesce(k.warned_days, 31)
            union all
            select c.tenant_id, c.id, 'renew', k.renew_at from app.credentials k
                join app.connections c on c.tenant_id = k.tenant_id and c.id = k.connection_id
                where k.secret_id is not null and k.renew_at <= now() and c.status in ('active', 'degraded')
                    and (k.refresh_lease_until is null or k.refresh_lease_until < now())) d
        order by row_number() over (partition by d.tenant_id order by d.due), d.due limit p_limit) w
$$;

-- The tenant's connections as people and keys see them, newest first; one when an id is given. args: {id?}
create function app.list_connections_v1(p_args jsonb) returns jsonb
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
            private.disconnect_document(d) as disconnect
        from app.connections c
        left join app.credentials k on k.tenant_id = c.tenant_id and k.connection_id = c.id
        left join app.disconnections d on d.tenant_id = c.tenant_id and d.connection_id = c.id
        where c.tenant_id = v_principal.tenant_id and c.environment = coalesce(v_principal.environment, c.environment)
            and c.id = coalesce((p_args ->> 'id')::uuid, c.id)
        order by c.created_at desc, c.id desc limit 200) r);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_connection_upkeep_v1 to countersign_worker;
grant execute on function app.claim_keep_alive_v1, app.count_down_connection_v1, app.list_connections_v1 to authenticated;
