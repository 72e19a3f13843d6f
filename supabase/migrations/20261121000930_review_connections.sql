-- What a review of connections found: a grant that several connections hold was revoked for all of them, sign-ins that nobody
-- finished stayed pending for ever, and a rotation of keys was given the tokens of what is closed.

-- shared: nothing was revoked, because another connection holds the same grant; the last of them revokes it.
alter table app.disconnections drop constraint disconnections_at_provider_check;
alter table app.disconnections add constraint disconnections_at_provider_check
    check (at_provider in ('pending', 'confirmed', 'unsupported', 'failed', 'nothing_to_revoke', 'shared'));
create index connections_pending on app.connections (created_at) where status = 'pending';

-- Whether revoking would end what a connection in use rests on, at a provider that knows one grant for each account and application.
-- Of the same account; of any, while nobody knows (or may rely on) which account it was: then also the connection itself counts.
create function private.grant_lives_on(p_connection app.connections, p_any_account boolean) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.connections c
        join app.credentials k on k.tenant_id = c.tenant_id and k.connection_id = c.id and k.secret_id is not null
        where c.tenant_id = p_connection.tenant_id and c.provider = p_connection.provider and c.environment = p_connection.environment
            and c.status in ('active', 'degraded')
            and (p_any_account or c.account ->> 'id' is not distinct from p_connection.account ->> 'id'))
$$;

-- For tokens that are given back without having been stored. args: {connection_id, any_account?}
create function app.grant_lives_on_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_connection app.connections;
begin
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such connection.');
    end if;
    return jsonb_build_object('lives_on', private.grant_lives_on(v_connection, coalesce((p_args ->> 'any_account')::boolean, false)));
end
$$;

-- As it was; and where revoking ends the whole grant (args: `ends` is `grant`), one that another connection of the same account still
-- uses is left to the last of them. Both are closed before either asks this, so one of two that close at once does revoke. No
-- credential is released then; the secret is destroyed. args: {connection_id, ends?}
create or replace function app.claim_revocation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_connection app.connections;
    v_row app.disconnections;
    v_credential app.credentials;
begin
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid for no key update;
    select * into v_row from app.disconnections
        where tenant_id = v_principal.tenant_id and connection_id = v_connection.id and status = 'revoking' for update;
    if not found then
        return jsonb_build_object('claimed', false, 'reason', 'nothing_to_do');
    end if;
    select * into v_credential from app.credentials where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id for update;
    if v_row.next_attempt_at > now() or v_row.lease_until > now() or v_credential.refresh_lease_until > now() then
        return jsonb_build_object('claimed', false, 'reason', 'busy');
    elsif not exists (select from vault.secrets where id = v_credential.secret_id) then  -- somebody removed it past us
        perform private.finish_disconnection(v_connection, 'failed', 'The stored tokens are gone.');
        return jsonb_build_object('claimed', false, 'reason', 'nothing_to_do');
    elsif p_args ->> 'ends' = 'grant' and private.grant_lives_on(v_connection, false) then
        v_row := private.finish_disconnection(v_connection, 'shared', null);
        return jsonb_build_object('claimed', false, 'reason', 'shared', 'disconnect', private.disconnect_document(v_row));
    end if;
    update app.disconnections set attempts = attempts + 1, lease_until = now() + interval '2 minutes'
        where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id;
    update app.credentials set refresh_lease_until = now() + interval '2 minutes'
        where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id;
    return jsonb_build_object('claimed', true, 'attempt', v_row.attempts + 1,
        'credential', private.release_credential(v_connection, 'revocation', v_connection.id, null, null));
end
$$;

-- Whether a sign-in was left: nothing that was begun for this connection can be finished any more, for an hour.
create function private.sign_in_is_over(p_connection app.connections) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select p_connection.created_at < now() - interval '1 hour' and not exists (select from app.oauth_flows
        where tenant_id = p_connection.tenant_id and connection_id = p_connection.id and expires_at > now() - interval '1 hour')
$$;

-- Ends a connection whose sign-in nobody finished. Whether it is over is the row's to say. args: {connection_id}
create function app.expire_sign_in_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_connection app.connections;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);  -- the connection's end raises the epoch
    select * into v_connection from app.connections where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'connection_id')::uuid and status = 'pending' for no key update;
    if not found or not private.sign_in_is_over(v_connection) then
        return jsonb_build_object('expired', false);
    end if;
    update app.connections set status = 'expired', status_reason = 'Nobody finished the sign-in in time; connect it anew.'
        where tenant_id = v_connection.tenant_id and id = v_connection.id;
    return jsonb_build_object('expired', true);
end
$$;

-- As it was, with the provider of each, and with the sign-ins that nobody finished as `abandoned`.
create or replace function app.claim_connection_upkeep_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', w.tenant_id, 'connection_id', w.connection_id, 'work', w.work,
        'provider', (select provider from app.connections where tenant_id = w.tenant_id and id = w.connection_id))), '[]') from (
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
                    and (k.refresh_lease_until is null or k.refresh_lease_until < now())
            union all
            select c.tenant_id, c.id, 'abandoned', c.created_at from app.connections c
                where c.status = 'pending' and private.sign_in_is_over(c)) d
        order by row_number() over (partition by d.tenant_id order by d.due), d.due limit p_limit) w
$$;

-- As it was, and whatever asks: what is closed gives its tokens to be revoked, and for nothing else.
create or replace function private.release_credential(p_connection app.connections, p_purpose text, p_for uuid, p_action uuid, p_run uuid)
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_credential app.credentials;
    v_envelope text;
begin
    if p_connection.status <> 'active' and p_purpose in ('attempt', 'observation', 'refresh')
        or p_connection.status = 'revoked' and p_purpose <> 'revocation'
        or p_connection.status not in ('active', 'degraded') and p_purpose not in ('revocation', 'key_rotation') then
        perform private.fail(409, 'connection_not_active', format('The connection is %s.', p_connection.status));
    end if;
    -- Locked, so that no refresh replaces it in between.
    select * into v_credential from app.credentials
        where tenant_id = p_connection.tenant_id and connection_id = p_connection.id for share;
    -- The name binds the secret to the connection and generation it was stored for.
    select decrypted_secret into v_envelope from vault.decrypted_secrets where id = v_credential.secret_id
        and name = private.secret_name(p_connection.id, v_credential.generation, v_credential.wrapping);
    if v_envelope is null then
        perform private.fail(409, 'credential_missing', 'The connection holds no credential; connect it again.');
    end if;
    insert into app.credential_releases (tenant_id, connection_id, environment, generation, purpose, released_for, action_id, run_id)
    values (p_connection.tenant_id, p_connection.id, p_connection.environment, v_credential.generation, p_purpose, p_for, p_action, p_run);
    return jsonb_build_object('connection_id', p_connection.id, 'tenant_id', p_connection.tenant_id,
        'environment', p_connection.environment, 'provider', p_connection.provider, 'access', p_connection.access,
        'generation', v_credential.generation, 'envelope', v_envelope, 'expires_at', v_credential.token_expires_at,
        'values', p_connection.parameters || p_connection."values");
end
$$;

-- As it was, and nothing of what is closed: it counts as left until its disconnect has destroyed it, in two days at most.
create or replace function app.claim_rewraps_v1(p_first text, p_known text[], p_limit integer) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update app.oauth_flows set verifier = '' where verifier <> '' and (used_at is not null or expires_at <= now());
    return jsonb_build_object(
        'left', (select coalesce(jsonb_object_agg(kek, n), '{}') from (
            select coalesce(kek, '') as kek, count(*) as n from (
                select kek_id from app.credentials where secret_id is not null
                union all
                select private.kek_of(verifier) from app.oauth_flows where verifier <> '') e (kek) group by 1) c),
        'work', (select coalesce(jsonb_agg(jsonb_build_object('tenant_id', w.tenant_id, 'connection_id', w.connection_id, 'state_hash', w.state_hash)), '[]') from (
            select e.* from (
                select tenant_id, connection_id, null::text as state_hash, kek_id from app.credentials where secret_id is not null
                union all
                select tenant_id, connection_id, encode(state_hash, 'hex'), private.kek_of(verifier) from app.oauth_flows where verifier <> '') e
            where e.kek_id <> p_first and e.kek_id = any (p_known) and not exists (select from app.connections c
                where c.tenant_id = e.tenant_id and c.id = e.connection_id and c.status = 'revoked')
            order by row_number() over (partition by e.tenant_id order by random()) limit p_limit) w));
end
$$;

-- As it was, and nothing of what is closed. Which scheduled function asks is what the caller says of itself, and keeps nobody out; an
-- envelope opens under a key that is not in the database.
create or replace function app.claim_rewrap_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_connection app.connections;
    v_verifier text;
begin
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid and status <> 'revoked';
    if not found then
        return jsonb_build_object('claimed', false);
    end if;
    if p_args ->> 'state_hash' is not null then
        select verifier into v_verifier from app.oauth_flows where tenant_id = v_connection.tenant_id and connection_id = v_connection.id
            and state_hash = decode(p_args ->> 'state_hash', 'hex') and used_at is null and private.kek_of(verifier) <> p_args ->> 'kek';
        return jsonb_build_object('claimed', v_verifier is not null, 'credential', jsonb_build_object('envelope', v_verifier,
            'tenant_id', v_connection.tenant_id, 'connection_id', v_connection.id, 'environment', v_connection.environment));
    end if;
    if not exists (select from app.credentials where tenant_id = v_connection.tenant_id and connection_id = v_connection.id
        and secret_id is not null and kek_id <> p_args ->> 'kek') then
        return jsonb_build_object('claimed', false);
    end if;
    return jsonb_build_object('claimed', true,
        'credential', private.release_credential(v_connection, 'key_rotation', v_connection.id, null, null));
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.grant_lives_on_v1, app.expire_sign_in_v1 to authenticated;
