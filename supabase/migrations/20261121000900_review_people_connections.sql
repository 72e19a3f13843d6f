-- Two races that were found by attacking what is above: who lost a permission while he waited for the tenant's lock still
-- used it, and a refresh whose lease had run out ended a connection that somebody else was refreshing.

-- As it was, and nobody issues a key who was removed meanwhile: it would be named nowhere as a leaver's.
create or replace function app.create_api_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('service_accounts.manage');
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    v_principal := private.require('service_accounts.manage');  -- whoever lost it while he waited
    if not exists (select from app.service_accounts where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'service_account_id')::uuid and disabled_at is null) then
        perform private.fail(404, 'not_found', 'There is no such service account.');
    end if;
    perform private.require_scopes(v_principal, array(select jsonb_array_elements_text(p_args -> 'scopes')));
    insert into app.api_keys (tenant_id, id, service_account_id, environment, prefix, secret_hash, scopes, expires_at, created_by)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, (p_args ->> 'service_account_id')::uuid, p_args ->> 'environment',
        p_args ->> 'prefix', decode(p_args ->> 'secret_hash', 'hex'),
        array(select jsonb_array_elements_text(p_args -> 'scopes')), (p_args ->> 'expires_at')::timestamptz, v_principal.id);
    return p_args - 'secret_hash';
end
$$;

-- As it was, and nobody takes a key over who was removed, or lost the role, meanwhile.
create or replace function app.rotate_api_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('service_accounts.manage');
    v_old app.api_keys;
    v_grace integer := (p_args ->> 'grace_seconds')::integer;
    v_expires_at timestamptz;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    v_principal := private.require('service_accounts.manage');
    select * into v_old from app.api_keys
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'old_id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such key.');
    elsif v_old.revoked_at is not null or v_old.expires_at <= now() or exists (select from app.service_accounts
        where tenant_id = v_old.tenant_id and id = v_old.service_account_id and disabled_at is not null) then
        perform private.fail(409, 'key_not_active', 'The key is revoked or expired; issue a new one.');
    end if;
    perform private.require_scopes(v_principal, v_old.scopes);
    v_expires_at := now() + (v_old.expires_at - v_old.created_at);  -- as long as the old one was made for
    insert into app.api_keys (tenant_id, id, service_account_id, environment, prefix, secret_hash, scopes, expires_at, created_by)
    values (v_old.tenant_id, (p_args ->> 'id')::uuid, v_old.service_account_id, v_old.environment, p_args ->> 'prefix',
        decode(p_args ->> 'secret_hash', 'hex'), v_old.scopes, v_expires_at, v_principal.id);
    update app.api_keys set
        expires_at = least(expires_at, now() + make_interval(secs => v_grace)),
        revoked_at = case when v_grace = 0 then now() end
    where tenant_id = v_old.tenant_id and id = v_old.id;
    return (p_args - 'secret_hash') || jsonb_build_object('service_account_id', v_old.service_account_id,
        'environment', v_old.environment, 'scopes', v_old.scopes, 'expires_at', v_expires_at);
end
$$;

-- As it was, and nobody's sign-in is kept who was removed, or lost the role, meanwhile.
create or replace function app.complete_reconnect_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.manage');
    v_connection app.connections;
    v_old app.credentials;
    v_flow app.oauth_flows;
    v_granted text[] := array(select jsonb_array_elements_text(p_args -> 'scopes_granted'));
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    v_principal := private.require('connections.manage');
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such connection.');
    end if;
    perform private.require_reconnectable(v_connection);
    select * into v_flow from app.oauth_flows where tenant_id = v_connection.tenant_id and connection_id = v_connection.id
        and state_hash = decode(p_args ->> 'state_hash', 'hex') and user_id = v_principal.id and reconnects
        and used_at > now() - interval '1 hour' for update;
    if not found then
        perform private.fail(403, 'no_sign_in', 'The tokens come from no sign-in that this person has just made.');
    elsif v_flow.completed_at is not null then  -- an earlier try, whose answer was lost
        return jsonb_build_object('stored', true, 'connection_id', v_connection.id, 'status', v_connection.status);
    elsif v_connection.account ? 'id' and v_connection.account ->> 'id' is distinct from p_args -> 'account' ->> 'id' then
        perform private.fail(409, 'another_account', 'This is another account at the provider; a connection keeps its account.');
    elsif not (v_granted <@ v_flow.scopes and v_granted @> v_flow.scopes) then
        perform private.fail(409, 'scopes_differ', 'What was granted is not what was asked for.');
    end if;
    select * into v_old from app.credentials where tenant_id = v_connection.tenant_id and connection_id = v_connection.id for update;
    if v_old.generation <> (p_args ->> 'replaces')::integer then
        return jsonb_build_object('stored', false, 'generation', v_old.generation);
    end if;
    perform private.put_credential(v_connection, v_old, v_old.generation + 1, p_args);
    update app.credentials set warned_days = null where tenant_id = v_connection.tenant_id and connection_id = v_connection.id;
    update app.oauth_flows set completed_at = now() where tenant_id = v_flow.tenant_id and state_hash = v_flow.state_hash;
    update app.connections set status = 'active', status_reason = null, scopes_requested = v_flow.scopes, scopes_granted = v_granted,
        account = coalesce(p_args -> 'account', account), "values" = coalesce(p_args -> 'values', "values"),
        consent_expires_at = (p_args ->> 'consent_expires_at')::timestamptz
        where tenant_id = v_connection.tenant_id and id = v_connection.id;
    perform private.resolve_alert(v_connection.tenant_id, null, 'connection', v_connection.id::text, 'Signed in again.');
    return jsonb_build_object('stored', true, 'connection_id', v_connection.id, 'generation', v_old.generation + 1, 'status', 'active');
end
$$;

-- Until when a refresh is the caller's: as long as he says that the exchange and storing what comes of it may take.
create function private.refresh_lease(p_args jsonb) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
    select now() + make_interval(secs => least(greatest(coalesce((p_args ->> 'lease_seconds')::double precision, 30), 30), 300))
$$;

-- As it was, for as long as the caller needs; `lease_until` names the lease. args: {connection_id, claimed_for, generation, lease_seconds?}
create or replace function app.claim_refresh_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_connection app.connections;
    v_for uuid := (p_args ->> 'claimed_for')::uuid;
    v_fresh boolean;
    v_lease timestamptz;
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
        update app.credentials set refresh_lease_until = private.refresh_lease(p_args)
            where tenant_id = v_connection.tenant_id and connection_id = v_connection.id
                and (refresh_lease_until is null or refresh_lease_until < now())
            returning refresh_lease_until into v_lease;
        if not found then
            return jsonb_build_object('claimed', false);
        end if;
    end if;
    return jsonb_build_object('claimed', true, 'fresh', v_fresh, 'lease_until', v_lease, 'credential', private.release_credential(v_connection, 'refresh', v_for,
        (select action_id from app.attempts where tenant_id = v_connection.tenant_id and id = v_for),
        (select run_id from app.observations where tenant_id = v_connection.tenant_id and id = v_for)));
end
$$;

-- As it was, for as long as the caller needs. args: {connection_id, lease_seconds?}
create or replace function app.claim_keep_alive_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_connection app.connections;
    v_lease timestamptz;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_connection from app.connections where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'connection_id')::uuid and status in ('active', 'degraded');
    update app.credentials set refresh_lease_until = private.refresh_lease(p_args)
        where tenant_id = v_connection.tenant_id and connection_id = v_connection.id and secret_id is not null and renew_at <= now()
            and (refresh_lease_until is null or refresh_lease_until < now())
        returning refresh_lease_until into v_lease;
    if not found then
        return jsonb_build_object('claimed', false);
    end if;
    return jsonb_build_object('claimed', true, 'fresh', false, 'lease_until', v_lease,
        'credential', private.release_credential(v_connection, 'keep_alive', v_connection.id, null, null));
end
$$;

-- As it was, and of no effect on a lease that has become somebody else's: a provider that takes a refresh token once refuses the
-- slower of two, and that refusal says nothing of what the faster one was given. args: {connection_id, generation, reason, final,
-- lease_until? (the release before this one names none)}
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
    if not found or p_args ->> 'lease_until' is not null
        and (p_args ->> 'lease_until')::timestamptz is distinct from v_credential.refresh_lease_until then
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

revoke all on all functions in schema app, private from public;
