-- Rotating the key-encryption key: every envelope is handed out and taken back under another key, one at a time, while connections
-- are in use. Only the wrapping of the data key changes; the tokens are opened by nobody.

-- What is sealed under a key that is not the first any more, of any tenant, as ids, and how much is left under each key. Only keys
-- that the caller has; in an order of chance within a tenant, so that what cannot be opened stands in nobody's way. What is of no
-- use any more (verifiers of sign-ins that are over) is erased.
create function app.claim_rewraps_v1(p_first text, p_known text[], p_limit integer) returns jsonb
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
            where e.kek_id <> p_first and e.kek_id = any (p_known)
            order by row_number() over (partition by e.tenant_id order by random()) limit p_limit) w));
end
$$;

-- Releases an envelope to be wrapped under the first key; {claimed: false} when it is already, or gone. With a state_hash: the sealed
-- verifier of a sign-in under way. args: {connection_id, kek, state_hash?}
create function app.claim_rewrap_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_connection app.connections;
    v_verifier text;
begin
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid;
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

-- Takes an envelope back under another key, as a new secret (an updated one would keep its nonce); the old secret is destroyed. Stored
-- only if nobody has replaced it meanwhile: a refresh always wins. The guards see to it that the sealed data is the same.
-- args: {connection_id, generation, envelope} or {connection_id, state_hash, envelope}
create function app.store_rewrapped_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_connection app.connections;
    v_old app.credentials;
    v_envelope text := p_args ->> 'envelope';
begin
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid for no key update;
    if p_args ->> 'state_hash' is not null then
        update app.oauth_flows set verifier = v_envelope where tenant_id = v_connection.tenant_id and connection_id = v_connection.id
            and state_hash = decode(p_args ->> 'state_hash', 'hex') and used_at is null and verifier <> '' and v_envelope <> '';
        return jsonb_build_object('stored', found);
    end if;
    select * into v_old from app.credentials where tenant_id = v_connection.tenant_id and connection_id = v_connection.id for update;
    if not found or v_old.secret_id is null or v_old.generation <> (p_args ->> 'generation')::integer
        or v_old.kek_id is not distinct from private.kek_of(v_envelope) then
        return jsonb_build_object('stored', false);
    end if;
    update app.credentials set wrapping = v_old.wrapping + 1, kek_id = private.kek_of(v_envelope), updated_at = now(),
        secret_id = vault.create_secret(v_envelope, private.secret_name(v_connection.id, v_old.generation, v_old.wrapping + 1), 'sealed OAuth tokens')
        where tenant_id = v_old.tenant_id and connection_id = v_old.connection_id;
    delete from vault.secrets where id = v_old.secret_id;
    return jsonb_build_object('stored', true);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_rewraps_v1 to countersign_worker;
grant execute on function app.claim_rewrap_v1, app.store_rewrapped_v1 to authenticated;
