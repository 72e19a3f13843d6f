-- The roles of a fresh hosted Supabase project, with the attributes, settings and memberships that a migration
-- can notice. Run by the superuser supabase_admin; may be run again.
--
-- Facts from the tests of Supabase's own database image (roles, settings and memberships on Postgres 17).
-- Left out because it needs extensions that are not here: supautils' list of reserved roles and safeupdate.

do $$
declare
    v_role text;
begin
    foreach v_role in array array[
        'anon', 'authenticated', 'service_role', 'authenticator', 'postgres', 'supabase_auth_admin', 'dashboard_user',
        'supabase_admin'
    ] loop
        if not exists (select from pg_roles where rolname = v_role) then
            execute format('create role %I', v_role);
        end if;
    end loop;
end
$$;

-- The roles a request takes on. They inherit on hosted projects, though they are members of nothing there.
alter role anon nologin inherit;
alter role authenticated nologin inherit;
alter role service_role nologin inherit bypassrls;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';

-- The Data API's login: can do nothing until it takes on one of the three.
alter role authenticator login noinherit;
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
grant anon, authenticated, service_role to authenticator;

-- Who runs migrations: no superuser, but may create roles and give away the API roles. On a server that is not
-- ours it may be the very superuser that runs this; that one keeps what it has.
do $$
begin
    if exists (select from pg_roles where rolname = 'postgres' and not rolsuper) then
        alter role postgres login inherit nosuperuser createrole createdb replication bypassrls;
        alter role postgres set search_path = "$user", public, extensions;
    end if;
end
$$;
grant anon, authenticated, service_role, authenticator to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres with admin option;

-- The Auth server's login: at home in schema auth.
alter role supabase_auth_admin login noinherit nocreaterole noreplication;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_auth_admin set idle_in_transaction_session_timeout = 60000;

alter role dashboard_user nologin inherit createrole createdb replication;
alter role supabase_admin set search_path = "$user", public, auth, extensions;

-- Vault's root key, as on hosted projects a file beside the data that no role can read. It is made once:
-- without it, every secret of this cluster is lost.
do $$
declare
    v_path constant text := current_setting('data_directory') || '/vault_root_key';
    v_key constant bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) ||
                                   uuid_send(gen_random_uuid()));
begin
    if pg_stat_file(v_path, true) is null then
        execute format('copy (select %L) to %L', encode(v_key, 'hex'), v_path);
    end if;
end
$$;
