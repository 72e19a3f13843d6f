-- The life of a connection: what is kept about it, when its consent and its tokens end, and who is told.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('connections.maintain', '{}', false, true, false, 'keep tokens alive, finish disconnects, rotate keys');

-- parameters: what the person said before the sign-in; values: these and the ids that the provider gave, for addresses and headers.
alter table app.connections
    add column parameters jsonb not null default '{}' check (jsonb_typeof(parameters) = 'object'),
    add column "values" jsonb not null default '{}' check (jsonb_typeof("values") = 'object'),
    add column consent_expires_at timestamptz;
create index connections_by_consent on app.connections (consent_expires_at) where consent_expires_at is not null;

-- renew_at: when the schedule refreshes the tokens if nobody did before; null where nothing ends by lying idle.
-- warned_days: of how many days left people were told last. kek_id, wrapping: under which key the envelope is sealed, and how
-- often it was sealed anew since this generation was stored.
alter table app.credentials
    alter column token_expires_at drop not null,      -- null: the provider's tokens do not end
    add column refreshed_at timestamptz not null default now(),
    add column refresh_expires_at timestamptz,
    add column renew_at timestamptz,
    add column refresh_failures integer not null default 0,
    add column warned_days integer,
    add column kek_id text,
    add column wrapping integer not null default 0;
create index credentials_to_renew on app.credentials (renew_at) where secret_id is not null;
create index credential_releases_by_use on app.credential_releases (tenant_id, connection_id, at desc)
    where purpose in ('attempt', 'observation');

alter table app.credential_releases drop constraint credential_releases_purpose_check;
alter table app.credential_releases add constraint credential_releases_purpose_check
    check (purpose in ('attempt', 'observation', 'refresh', 'revocation', 'keep_alive', 'key_rotation'));

drop trigger connections_keep_columns on app.connections;
create trigger connections_keep_columns before update on app.connections
    for each row execute function private.keep_columns('status', 'status_reason', 'scopes_requested', 'scopes_granted', 'account',
        'values', 'consent_expires_at');
drop trigger credentials_keep_columns on app.credentials;
create trigger credentials_keep_columns before update on app.credentials
    for each row execute function private.keep_columns('generation', 'secret_id', 'token_expires_at', 'refresh_lease_until', 'updated_at',
        'refreshed_at', 'refresh_expires_at', 'renew_at', 'refresh_failures', 'warned_days', 'kek_id', 'wrapping');

-- What ended comes back by one way only: a person signed in again, and the new tokens were stored in this very transaction.
-- Nothing leads out of `revoked`.
create or replace function private.connection_transition() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if new.status <> old.status and (old.status, new.status) not in (
        ('pending', 'active'), ('pending', 'revoked'), ('pending', 'expired'), ('active', 'degraded'), ('degraded', 'active'),
        ('active', 'revoked'), ('degraded', 'revoked'), ('active', 'expired'), ('degraded', 'expired'), ('expired', 'revoked'))
        and not (old.status = 'expired' and new.status = 'active' and exists (
            select from app.credentials where tenant_id = new.tenant_id and connection_id = new.id
                and secret_id is not null and generation > 1 and refreshed_at = now())) then
        perform private.fail(409, 'invalid_transition', format('A connection cannot go from %s to %s.', old.status, new.status));
    end if;
    return new;
end
$$;

-- Which scopes a connection asks for changes only together with a new sign-in.
create function private.keep_scopes() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if new.scopes_requested is distinct from old.scopes_requested and not exists (
        select from app.credentials where tenant_id = new.tenant_id and connection_id = new.id
            and secret_id is not null and generation > 1 and refreshed_at = now()) then
        perform private.fail(409, 'immutable_column', 'What a connection asks for changes by signing in again.');
    end if;
    return new;
end
$$;
create trigger connections_keep_scopes before update on app.connections
    for each row execute function private.keep_scopes();

-- Whether two envelopes hold the same sealed data, so that only the wrapping of its key differs.
create function private.same_sealed(p_one text, p_other text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select coalesce(case when p_one is json object and p_other is json object then
        p_one::jsonb - 'kek' - 'key' = p_other::jsonb - 'kek' - 'key' and p_one::jsonb ? 'data' end, false)
$$;

-- The id of the key that an envelope names; null when it is none.
create function private.kek_of(p_envelope text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when p_envelope is json object then p_envelope::jsonb ->> 'kek' end
$$;

create function private.secret_name(p_connection uuid, p_generation integer, p_wrapping integer) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select private.secret_name(p_connection, p_generation) || case when p_wrapping > 0 then '/' || p_wrapping else '' end
$$;

-- A token set gives way to the next one, or to itself under another key, and to nothing else.
create or replace function private.guard_credential() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'The record of a credential stays; its secret is destroyed.');
    elsif new.generation not in (old.generation, old.generation + 1) then
        perform private.fail(409, 'generation_moved', 'A new secret is the next generation.');
    elsif new.generation = old.generation and new.secret_id is distinct from old.secret_id and new.secret_id is not null
        and not (new.wrapping = old.wrapping + 1 and private.same_sealed(
            (select decrypted_secret from vault.decrypted_secrets where id = old.secret_id),
            (select decrypted_secret from vault.decrypted_secrets where id = new.secret_id))) then
        perform private.fail(409, 'generation_moved', 'A new secret is the next generation.');
    elsif new.generation = old.generation and new.refreshed_at is distinct from old.refreshed_at then
        perform private.fail(409, 'generation_moved', 'Tokens are refreshed when the next generation is stored.');
    end if;
    return new;
end
$$;

-- Whoever answers for a connection learns that it ended, and need not look any more when it is well again or gone.
create function private.connection_alerts() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if new.status = old.status or old.status = 'pending' then
        return null;
    end if;
    if new.status <> 'degraded' then
        perform private.resolve_alert(new.tenant_id, null, 'connection', new.id::text, format('The connection is %s.', new.status));
    end if;
    if new.status = 'expired' then
        perform private.raise_alert(new.tenant_id, new.environment, 'connection.expired', 'critical', 'connection', new.id::text,
            format('The %s connection to %s has ended; somebody has to sign in again.', new.access, new.provider),
            jsonb_build_object('provider', new.provider, 'access', new.access, 'reason', new.status_reason), new.created_by);
    end if;
    return null;
end
$$;
create trigger connections_alert after update on app.connections
    for each row execute function private.connection_alerts();
select private.guard_table('app.connections');
select private.guard_table('app.credentials');

-- What was connected before: under which key. When it is to be refreshed, its next refresh says.
update app.credentials c set kek_id = private.kek_of((
    select decrypted_secret from vault.decrypted_secrets s where s.id = c.secret_id))
where secret_id is not null;

-- Hands out the sealed token set. Only functions that claim something call this, and no role may execute it: invariant 8 rests here.
-- Calls are made through an active connection only; one that is closed gives its tokens to be revoked, and for nothing else.
create or replace function private.release_credential(p_connection app.connections, p_purpose text, p_for uuid, p_action uuid, p_run uuid)
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_credential app.credentials;
    v_envelope text;
begin
    if p_connection.status <> 'active' and p_purpose in ('attempt', 'observation', 'refresh')
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

revoke all on all functions in schema app, private from public;
