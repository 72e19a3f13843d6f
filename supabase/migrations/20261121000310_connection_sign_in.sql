-- Signing in: what a person says beforehand, the first tokens, and signing in again without the connection changing its id.

-- scopes: what this sign-in asks for; reconnects: whether the connection was there before; completed_at: tokens were stored from it.
alter table app.oauth_flows
    add column scopes text[] not null default '{}',
    add column reconnects boolean not null default false,
    add column completed_at timestamptz;

-- A verifier is erased once it is of no use, or sealed under another key; it never becomes another one.
create function private.guard_flow() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if old.used_at is not null and new.used_at is distinct from old.used_at
        or old.completed_at is not null and new.completed_at is distinct from old.completed_at then
        perform private.fail(409, 'flow_used', 'A sign-in is used once.');
    elsif new.verifier <> old.verifier and new.verifier <> '' and not private.same_sealed(old.verifier, new.verifier) then
        perform private.fail(409, 'immutable_column', 'The verifier of a sign-in does not change.');
    end if;
    return new;
end
$$;
create trigger oauth_flows_guard before update on app.oauth_flows
    for each row execute function private.guard_flow();
drop trigger oauth_flows_keep_columns on app.oauth_flows;
create trigger oauth_flows_keep_columns before update on app.oauth_flows
    for each row execute function private.keep_columns('used_at', 'completed_at', 'verifier');
select private.guard_table('app.oauth_flows');

create function private.begin_flow(p_principal private.principal, p_connection uuid, p_args jsonb, p_reconnects boolean) returns void
language sql set search_path = pg_catalog, pg_temp as $$
    insert into app.oauth_flows (tenant_id, state_hash, binding_hash, connection_id, user_id, verifier, redirect_uri, expires_at, scopes, reconnects)
    values (p_principal.tenant_id, decode(p_args ->> 'state_hash', 'hex'), decode(p_args ->> 'binding_hash', 'hex'), p_connection,
        p_principal.id, p_args ->> 'verifier', p_args ->> 'redirect_uri', (p_args ->> 'expires_at')::timestamptz,
        array(select jsonb_array_elements_text(p_args -> 'scopes')), p_reconnects)
$$;

-- Begins a connection and its sign-in.
-- args: {id, provider, environment, access, parameters?, scopes, state_hash, binding_hash, verifier, redirect_uri, expires_at}
create or replace function app.create_connection_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.manage');
    v_id uuid := (p_args ->> 'id')::uuid;
begin
    insert into app.connections (tenant_id, id, provider, environment, access, parameters, scopes_requested, created_by)
    values (v_principal.tenant_id, v_id, p_args ->> 'provider', p_args ->> 'environment', p_args ->> 'access',
        coalesce(p_args -> 'parameters', '{}'), array(select jsonb_array_elements_text(p_args -> 'scopes')), v_principal.id);
    perform private.begin_flow(v_principal, v_id, p_args, false);
    return jsonb_build_object('id', v_id, 'status', 'pending');
end
$$;

-- Begins a new sign-in for a connection that was there before; it stays as it is until that is completed.
-- args: {id, scopes, state_hash, binding_hash, verifier, redirect_uri, expires_at}
create function app.begin_reconnect_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.manage');
    v_connection app.connections;
begin
    select * into v_connection from app.connections where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such connection.');
    end if;
    perform private.require_reconnectable(v_connection);
    perform private.begin_flow(v_principal, v_connection.id, p_args, true);
    return jsonb_build_object('id', v_connection.id, 'status', v_connection.status);
end
$$;

create function private.require_reconnectable(p_connection app.connections) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_connection.status not in ('active', 'degraded', 'expired') or not exists (select from app.credentials
        where tenant_id = p_connection.tenant_id and connection_id = p_connection.id) then
        perform private.fail(409, 'connection_closed', format('The connection is %s; make a new one.', p_connection.status));
    end if;
end
$$;

-- Takes the sign-in that a callback names, once. The callback carries no token of ours, so this runs for
-- countersign_worker and answers who began it; the rest of the callback runs as that person.
create or replace function app.claim_oauth_flow_v1(p_state_hash bytea, p_binding_hash bytea) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_flow app.oauth_flows;
begin
    select * into v_flow from app.oauth_flows
        where state_hash = p_state_hash and binding_hash = p_binding_hash and used_at is null and expires_at > now() for update;
    if not found then
        return null;
    end if;
    update app.oauth_flows set used_at = now(), verifier = '' where tenant_id = v_flow.tenant_id and state_hash = v_flow.state_hash;
    return to_jsonb(v_flow) - '{state_hash, binding_hash, scopes, used_at, completed_at}'::text[] || (
        select jsonb_build_object('provider', c.provider, 'environment', c.environment, 'access', c.access, 'parameters', c.parameters,
            'account', c.account, 'scopes_requested', case when v_flow.scopes = '{}' then c.scopes_requested else v_flow.scopes end,
            'generation', coalesce(k.generation, 0))
        from app.connections c left join app.credentials k on k.tenant_id = c.tenant_id and k.connection_id = c.id
        where c.tenant_id = v_flow.tenant_id and c.id = v_flow.connection_id);
end
$$;

-- When tokens that nobody calls with are refreshed: well before the grant ends by lying idle (the caller's to say), and before the
-- refresh token ends: a week, or half of its life. At most once a day, also where a refresh does not prolong anything.
create function private.next_renewal(p_before_idle timestamptz, p_refresh_expires_at timestamptz) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
    select least(p_before_idle, greatest(now() + interval '1 day', p_refresh_expires_at
        - least(interval '7 days', (p_refresh_expires_at - now()) / 2)))
        from (select 1) one where p_before_idle is not null or p_refresh_expires_at is not null
$$;

-- Puts a sealed token set in the place of the one before it, whose secret is destroyed. Callers hold the connection's row.
-- Without a word of when the refresh token ends (no `refresh_expires_at` in args) it ends when it did.
create function private.put_credential(p_connection app.connections, p_old app.credentials, p_generation integer, p_args jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_secret uuid := vault.create_secret(p_args ->> 'envelope', private.secret_name(p_connection.id, p_generation), 'sealed OAuth tokens');
    v_refresh_ends timestamptz := case when p_args ? 'refresh_expires_at' then (p_args ->> 'refresh_expires_at')::timestamptz
        else p_old.refresh_expires_at end;
begin
    insert into app.credentials (tenant_id, connection_id, generation, secret_id, token_expires_at, refresh_expires_at, renew_at, kek_id)
    values (p_connection.tenant_id, p_connection.id, p_generation, v_secret, (p_args ->> 'token_expires_at')::timestamptz, v_refresh_ends,
        private.next_renewal((p_args ->> 'renew_at')::timestamptz, v_refresh_ends), private.kek_of(p_args ->> 'envelope'))
    on conflict (tenant_id, connection_id) do update set generation = excluded.generation, secret_id = excluded.secret_id,
        token_expires_at = excluded.token_expires_at, refresh_expires_at = excluded.refresh_expires_at, renew_at = excluded.renew_at,
        kek_id = excluded.kek_id, wrapping = 0, refreshed_at = now(), refresh_failures = 0, refresh_lease_until = null, updated_at = now();
    delete from vault.secrets where id = p_old.secret_id;
    perform private.resolve_alert(p_connection.tenant_id, 'connection.refresh_failing', 'connection', p_connection.id::text, 'Refreshed.');
end
$$;

-- What a provider granted at a refresh, compared with what was asked for. Wider is more than anybody reviewed, narrower is less than
-- the connection needs: either way no call is made with it any more, until a refresh or a new sign-in grants what was asked for.
create function private.note_scopes(p_connection app.connections, p_granted text[]) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_drift text := case when not p_granted <@ p_connection.scopes_requested then 'wider'
        when not p_granted @> p_connection.scopes_requested then 'narrower' end;
    v_status text := case when v_drift is null then 'active' else 'degraded' end;
    v_scopes text;
begin
    if p_granted <@ p_connection.scopes_granted and p_granted @> p_connection.scopes_granted
        or p_connection.status not in ('active', 'degraded') then
        return v_drift;
    end if;
    select string_agg(s, ' ' order by s) into v_scopes from (
        select unnest(case v_drift when 'wider' then p_granted else p_connection.scopes_requested end)
        except select unnest(case v_drift when 'wider' then p_connection.scopes_requested else p_granted end)) d (s);
    update app.connections set scopes_granted = p_granted, status = v_status, status_reason = case v_drift
        when 'wider' then left('the provider granted more than was asked for: ' || v_scopes, 1000)
        when 'narrower' then left('the provider granted less than was asked for: ' || v_scopes, 1000) end
        where tenant_id = p_connection.tenant_id and id = p_connection.id;
    if v_drift is not null then
        perform private.raise_alert(p_connection.tenant_id, p_connection.environment, 'connection.scopes_' || v_drift,
            case v_drift when 'wider' then 'critical' else 'warning' end, 'connection', p_connection.id::text,
            format('%s grants %s than was asked for; the %s connection makes no calls until somebody signs in again.', p_connection.provider,
                case v_drift when 'wider' then 'more' else 'less' end, p_connection.access),
            jsonb_build_object('provider', p_connection.provider, 'access', p_connection.access, 'scopes', left(v_scopes, 2000)),
            p_connection.created_by);
    end if;
    return v_drift;
end
$$;

-- Seals a token set into the vault as the generation after the one named (null: the first). The old secret is destroyed.
-- Answers the connection's status: tokens are for calls only while it is `active`. args: {connection_id, replaces, envelope,
-- token_expires_at, refresh_expires_at?, renew_at?, scopes_granted?, account?, values?, consent_expires_at?}
create or replace function app.store_credential_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('tenant.read');
    v_connection app.connections;
    v_old app.credentials;
    v_generation integer := coalesce((p_args ->> 'replaces')::integer, 0) + 1;
    v_granted text[] := case when jsonb_typeof(p_args -> 'scopes_granted') = 'array'
        then array(select jsonb_array_elements_text(p_args -> 'scopes_granted')) end;
begin
    -- Before any row, as decisions and claims do: whoever locks rows first waits for them in a circle.
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid;
    if v_generation = 1 or not (v_granted <@ v_connection.scopes_granted and v_granted @> v_connection.scopes_granted) then
        perform private.lock_tenant(v_principal.tenant_id, true);
    end if;
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such connection.');
    end if;
    -- A person completes a sign-in that he may begin; only a scheduled function replaces tokens later.
    if v_generation = 1 then
        v_principal := private.require('connections.manage');
    elsif v_principal.kind <> 'system' then
        perform private.fail(403, 'permission_denied', 'Tokens are replaced by the executor only.');
    end if;
    select * into v_old from app.credentials where tenant_id = v_connection.tenant_id and connection_id = v_connection.id for update;
    -- A refresh that was under way when somebody disconnected: its tokens are kept for one thing, to be revoked.
    if v_connection.status in ('revoked', 'expired') and not (v_old.secret_id is not null and v_old.refresh_lease_until is not null and exists (
        select from app.disconnections where tenant_id = v_connection.tenant_id and connection_id = v_connection.id and status = 'revoking')) then
        perform private.fail(409, 'connection_closed', 'The connection is closed.');
    elsif coalesce(v_old.generation, 0) <> v_generation - 1 then
        perform private.fail(409, 'generation_moved', 'Somebody else refreshed this connection first.');
    end if;
    if v_generation = 1 and not (coalesce(v_granted, v_connection.scopes_requested) <@ v_connection.scopes_requested) then
        perform private.fail(409, 'scopes_differ', 'More was granted than was asked for.');
    end if;
    perform private.put_credential(v_connection, v_old, v_generation, p_args);
    if v_generation = 1 then
        update app.connections set status = 'active', account = coalesce(p_args -> 'account', '{}'), "values" = coalesce(p_args -> 'values', '{}'),
            consent_expires_at = (p_args ->> 'consent_expires_at')::timestamptz, scopes_granted = coalesce(v_granted, scopes_requested)
        where tenant_id = v_connection.tenant_id and id = v_connection.id;
    elsif v_granted is not null then
        perform private.note_scopes(v_connection, v_granted);
    end if;
    return jsonb_build_object('connection_id', v_connection.id, 'generation', v_generation, 'status', (
        select status from app.connections where tenant_id = v_connection.tenant_id and id = v_connection.id));
end
$$;

-- Completes a new sign-in of a connection: same account, exactly the scopes that it asked for, the next generation. Answers
-- {stored: false, generation} when a refresh was faster; the caller seals for the generation after that and tries again.
-- args: {connection_id, state_hash, replaces, envelope, token_expires_at, refresh_expires_at?, renew_at?, scopes_granted, account, values,
-- consent_expires_at}
create function app.complete_reconnect_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.manage');
    v_connection app.connections;
    v_old app.credentials;
    v_flow app.oauth_flows;
    v_granted text[] := array(select jsonb_array_elements_text(p_args -> 'scopes_granted'));
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
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

revoke all on all functions in schema app, private from public;
grant execute on function app.begin_reconnect_v1, app.complete_reconnect_v1 to authenticated;
