-- Connections: a tenant's OAuth grants, and the vault that holds their tokens.

create table app.connections (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    provider text not null,
    environment text not null check (environment in ('sandbox', 'production')),
    access text not null check (access in ('read', 'write')),
    status text not null default 'pending' check (status in ('pending', 'active', 'degraded', 'revoked', 'expired')),
    status_reason text,
    scopes_requested text[] not null,
    scopes_granted text[] not null default '{}',
    account jsonb not null default '{}',
    created_by uuid not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);

-- A sign-in at a provider under way. State and browser binding are stored as hashes and used once.
create table app.oauth_flows (
    tenant_id uuid not null references app.tenants,
    state_hash bytea not null unique,
    binding_hash bytea not null,
    connection_id uuid not null,
    user_id uuid not null,
    verifier text not null,      -- PKCE, sealed by the application
    redirect_uri text not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    primary key (tenant_id, state_hash),
    foreign key (tenant_id, connection_id) references app.connections (tenant_id, id)
);
create index oauth_flows_by_connection on app.oauth_flows (tenant_id, connection_id);

-- Which vault secret is a connection's token set now. The generation rises at every refresh; whoever
-- stores a new set names the generation it replaces (compare and set).
create table app.credentials (
    tenant_id uuid not null references app.tenants,
    connection_id uuid not null,
    generation integer not null,
    secret_id uuid,              -- no foreign key may point at vault.secrets; null once destroyed
    token_expires_at timestamptz not null,
    refresh_lease_until timestamptz,
    updated_at timestamptz not null default now(),
    primary key (tenant_id, connection_id),
    foreign key (tenant_id, connection_id) references app.connections (tenant_id, id)
);

-- Every time a sealed token set left the database, and what for.
create table app.credential_releases (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    connection_id uuid not null,
    environment text not null,
    generation integer not null,
    purpose text not null check (purpose in ('attempt', 'observation', 'refresh', 'revocation')),
    action_id uuid,
    run_id uuid,
    released_for uuid not null,   -- the attempt, the observation or, at a disconnect, the connection
    at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, connection_id) references app.connections (tenant_id, id)
);
create index credential_releases_by_connection on app.credential_releases (tenant_id, connection_id);

create trigger connections_raise_epoch after insert or update or delete on app.connections
    for each row execute function private.raise_epoch();
create trigger connections_keep_columns before update on app.connections
    for each row execute function private.keep_columns('status', 'status_reason', 'scopes_granted', 'account');

create function private.connection_transition() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.status <> old.status and (old.status, new.status) not in (
        ('pending', 'active'), ('pending', 'revoked'), ('pending', 'expired'), ('active', 'degraded'), ('degraded', 'active'),
        ('active', 'revoked'), ('degraded', 'revoked'), ('active', 'expired'), ('degraded', 'expired')) then
        perform private.fail(409, 'invalid_transition', format('A connection cannot go from %s to %s.', old.status, new.status));
    end if;
    return new;
end
$$;
create trigger connections_transition before update on app.connections
    for each row execute function private.connection_transition();

-- A token set gives way to the next one and to nothing else; it never turns into another connection's.
create function private.guard_credential() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'The record of a credential stays; its secret is destroyed.');
    elsif new.generation not in (old.generation, old.generation + 1)
        or new.generation = old.generation and new.secret_id is distinct from old.secret_id and new.secret_id is not null then
        perform private.fail(409, 'generation_moved', 'A new secret is the next generation.');
    end if;
    return new;
end
$$;
create trigger credentials_guard before update or delete on app.credentials
    for each row execute function private.guard_credential();
create trigger credentials_keep_columns before update on app.credentials
    for each row execute function private.keep_columns('generation', 'secret_id', 'token_expires_at', 'refresh_lease_until', 'updated_at');
create trigger oauth_flows_keep_columns before update on app.oauth_flows
    for each row execute function private.keep_columns('used_at');

select private.audit_table('app.connections', 'connection', 'created', 'provider environment access scopes_requested scopes_granted account', 'status_reason');
select private.audit_table('app.credentials', 'credential', 'stored', 'connection_id generation token_expires_at');
select private.audit_table('app.credential_releases', 'credential', 'released', 'connection_id generation', 'purpose released_for');
select private.append_only('app.credential_releases');
select private.guard_table('app.oauth_flows');

alter table app.connections enable row level security;
alter table app.connections force row level security;
alter table app.oauth_flows enable row level security;
alter table app.oauth_flows force row level security;
alter table app.credentials enable row level security;
alter table app.credentials force row level security;
alter table app.credential_releases enable row level security;
alter table app.credential_releases force row level security;
create policy "members read their tenant's connections of their environment" on app.connections for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
create policy "nobody reads sign-ins under way directly" on app.oauth_flows for select to authenticated using (false);
create policy "nobody reads credentials directly" on app.credentials for select to authenticated using (false);
create policy "members read their tenant's credential releases of their environment" on app.credential_releases for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.connections, app.credential_releases to authenticated;

create function private.secret_name(p_connection uuid, p_generation integer) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select 'countersign/' || p_connection || '/' || p_generation
$$;

-- Hands out the sealed token set. Only the functions that claim an attempt or an observation call this,
-- and no role may execute it: invariant 8 rests here.
create function private.release_credential(p_connection app.connections, p_purpose text, p_for uuid, p_action uuid, p_run uuid)
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_credential app.credentials;
    v_envelope text;
begin
    -- Locked, so that no refresh replaces it in between.
    select * into v_credential from app.credentials
        where tenant_id = p_connection.tenant_id and connection_id = p_connection.id for share;
    -- The name binds the secret to the connection and generation it was stored for.
    select decrypted_secret into v_envelope from vault.decrypted_secrets
        where id = v_credential.secret_id and name = private.secret_name(p_connection.id, v_credential.generation);
    if v_envelope is null then
        perform private.fail(409, 'credential_missing', 'The connection holds no credential; connect it again.');
    end if;
    insert into app.credential_releases (tenant_id, connection_id, environment, generation, purpose, released_for, action_id, run_id)
    values (p_connection.tenant_id, p_connection.id, p_connection.environment, v_credential.generation, p_purpose, p_for, p_action, p_run);
    return jsonb_build_object('connection_id', p_connection.id, 'tenant_id', p_connection.tenant_id,
        'environment', p_connection.environment, 'provider', p_connection.provider,
        'generation', v_credential.generation, 'envelope', v_envelope, 'expires_at', v_credential.token_expires_at);
end
$$;

-- Begins a connection and its sign-in. args: {id, provider, environment, access, scopes, state_hash, binding_hash, verifier, redirect_uri, expires_at}
create function app.create_connection_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.manage');
    v_id uuid := (p_args ->> 'id')::uuid;
begin
    insert into app.connections (tenant_id, id, provider, environment, access, scopes_requested, created_by)
    values (v_principal.tenant_id, v_id, p_args ->> 'provider', p_args ->> 'environment', p_args ->> 'access',
        array(select jsonb_array_elements_text(p_args -> 'scopes')), v_principal.id);
    insert into app.oauth_flows (tenant_id, state_hash, binding_hash, connection_id, user_id, verifier, redirect_uri, expires_at)
    values (v_principal.tenant_id, decode(p_args ->> 'state_hash', 'hex'), decode(p_args ->> 'binding_hash', 'hex'), v_id,
        v_principal.id, p_args ->> 'verifier', p_args ->> 'redirect_uri', (p_args ->> 'expires_at')::timestamptz);
    return jsonb_build_object('id', v_id, 'status', 'pending');
end
$$;

-- Takes the sign-in that a callback names, once. The callback carries no token of ours, so this runs for
-- countersign_worker and answers who began it; the rest of the callback runs as that person.
create function app.claim_oauth_flow_v1(p_state_hash bytea, p_binding_hash bytea) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_flow app.oauth_flows;
begin
    update app.oauth_flows set used_at = now()
        where state_hash = p_state_hash and binding_hash = p_binding_hash and used_at is null and expires_at > now()
        returning * into v_flow;
    if not found then
        return null;
    end if;
    return to_jsonb(v_flow) - 'state_hash' - 'binding_hash' || (
        select jsonb_build_object('provider', provider, 'environment', environment, 'access', access, 'scopes_requested', scopes_requested)
        from app.connections where tenant_id = v_flow.tenant_id and id = v_flow.connection_id);
end
$$;

-- Seals a token set into the vault as the generation after the one named (null: the first). The old secret is destroyed.
-- args: {connection_id, replaces, envelope, token_expires_at, scopes_granted?, account?}
create function app.store_credential_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('tenant.read');
    v_connection app.connections;
    v_old app.credentials;
    v_generation integer := coalesce((p_args ->> 'replaces')::integer, 0) + 1;
    v_secret uuid;
begin
    -- Before any row, as decisions and claims do: whoever locks rows first waits for them in a circle.
    if v_generation = 1 then
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
    if v_connection.status in ('revoked', 'expired') then
        perform private.fail(409, 'connection_closed', 'The connection is closed.');
    end if;
    select * into v_old from app.credentials where tenant_id = v_connection.tenant_id and connection_id = v_connection.id for update;
    if coalesce(v_old.generation, 0) <> v_generation - 1 then
        perform private.fail(409, 'generation_moved', 'Somebody else refreshed this connection first.');
    end if;
    v_secret := vault.create_secret(p_args ->> 'envelope', private.secret_name(v_connection.id, v_generation), 'sealed OAuth tokens');
    insert into app.credentials (tenant_id, connection_id, generation, secret_id, token_expires_at)
    values (v_connection.tenant_id, v_connection.id, v_generation, v_secret, (p_args ->> 'token_expires_at')::timestamptz)
    on conflict (tenant_id, connection_id) do update set generation = excluded.generation, secret_id = excluded.secret_id,
        token_expires_at = excluded.token_expires_at, refresh_lease_until = null, updated_at = now();
    delete from vault.secrets where id = v_old.secret_id;
    if v_generation = 1 then
        update app.connections set status = 'active', account = coalesce(p_args -> 'account', '{}'),
            scopes_granted = array(select jsonb_array_elements_text(p_args -> 'scopes_granted'))
        where tenant_id = v_connection.tenant_id and id = v_connection.id;
    end if;
    return jsonb_build_object('connection_id', v_connection.id, 'generation', v_generation, 'status', 'active');
end
$$;

-- Destroys the secret and closes the connection; what the provider was told is the caller's to do first or after.
create function app.revoke_connection_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.manage');
    v_connection app.connections;
    v_credential jsonb;
begin
    -- Waits for claims in flight: whatever holds the credential when this returns, held it before.
    perform private.lock_tenant(v_principal.tenant_id, true);
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such connection.');
    end if;
    if v_connection.status not in ('revoked', 'expired') then
        -- Released once more, to revoke the grant at the provider with; afterwards nothing is left here.
        if exists (select from app.credentials c join vault.secrets s on s.id = c.secret_id
            where c.tenant_id = v_connection.tenant_id and c.connection_id = v_connection.id) then
            v_credential := private.release_credential(v_connection, 'revocation', v_connection.id, null, null);
        end if;
        update app.connections set status = 'revoked', status_reason = coalesce(p_args ->> 'reason', 'disconnected')
            where tenant_id = v_connection.tenant_id and id = v_connection.id;
        delete from vault.secrets where id in (
            select secret_id from app.credentials where tenant_id = v_connection.tenant_id and connection_id = v_connection.id);
        update app.credentials set secret_id = null, updated_at = now()
            where tenant_id = v_connection.tenant_id and connection_id = v_connection.id;
    end if;
    return jsonb_build_object('id', v_connection.id, 'status', 'revoked', 'credential', v_credential);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_oauth_flow_v1 to countersign_worker;
grant execute on function app.create_connection_v1, app.store_credential_v1, app.revoke_connection_v1 to authenticated;
