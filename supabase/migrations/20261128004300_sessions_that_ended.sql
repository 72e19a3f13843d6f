-- A person who signs out everywhere is out everywhere with the next request of any browser or client, and not when its access
-- token is renewed. Supabase Auth deletes the row of a session that is signed out, and access tokens name their session
-- (`session_id`): so every token is looked up there, by its primary key, in the statement that asks for its person anyway.
-- Supabase Auth may be kept in another database than this one; then its sessions cannot be looked up here.

-- One row: whether `auth.sessions` of this database is where the sessions of its people are. Only the owner of the database says so;
-- a setting of a session would be the caller's to change.
create table private.auth_place (
    what text primary key default 'auth' check (what = 'auth'),
    here boolean not null default true
);
revoke all on private.auth_place from public;
insert into private.auth_place default values;

-- Whether the claims are those of a person whose session is over: signed out, or past the time that Supabase Auth was told to
-- give a session. Elsewhere than here (private.auth_place) one that was signed out ends with its access token. Keys of service accounts
-- and scheduled functions have no session. Supabase grants `postgres`, who owns this, to read auth.sessions past its row-level
-- security (supabase/auth, migrations/20240612123726_enable_rls_update_grants).
create function private.session_over(p_claims jsonb) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Statements of their own: who has no session, or has it elsewhere, needs no Supabase Auth in the same database.
    if p_claims ->> 'kind' is distinct from 'user' or p_claims ->> 'session_id' is null then
        return false;
    elsif not (select p.here from private.auth_place p) then
        return false;
    end if;
    return not exists (select from auth.sessions s
        where s.id = (p_claims ->> 'session_id')::uuid and s.user_id = (p_claims ->> 'sub')::uuid
            and (s.not_after is null or s.not_after > clock_timestamp()));
end
$$;

-- What both doors begin with, so that nothing is answered to who has signed out: neither a stored answer, nor what is there
-- for people who are in no tenant.
create function private.refuse_ended_session() returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if private.session_over(private.claims()) then
        perform private.fail(401, 'session_ended', 'This session was signed out, or is over. Sign in again.');
    end if;
end
$$;

-- Who calls, by the claims of the request: a person, a service account or a scheduled function, with what it may; null when there is nobody.
-- A person whose session is over is nobody: whoever signs out while a request of theirs waits for a lock has it refused when it asks again.
create or replace function private.current_principal() returns private.principal
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_claims jsonb := private.claims();
    v_principal private.principal;
begin
    if v_claims ->> 'kind' = 'user' then
        if private.session_over(v_claims) then
            return v_principal;
        end if;
        select 'user', m.user_id, m.tenant_id, m.role, null, v_claims ->> 'aal', null, v_claims ->> 'session_id',
            (select array_agg(p.permission) from private.permissions p where m.role = any (p.roles))
        into v_principal
        from app.members m
        where m.user_id = (v_claims ->> 'sub')::uuid and m.tenant_id = coalesce((v_claims ->> 'tenant_id')::uuid,
            -- Who belongs to one tenant only need not name it.
            (select min(o.tenant_id::text)::uuid from app.members o where o.user_id = m.user_id having count(*) = 1));
    elsif v_claims ->> 'kind' = 'service' then
        select 'service', k.service_account_id, k.tenant_id, null, k.environment, null, k.id, null,
            (select array_agg(p.permission) from private.permissions p where p.service and p.permission = any (k.scopes))
        into v_principal
        from app.api_keys k
        join app.service_accounts s on s.tenant_id = k.tenant_id and s.id = k.service_account_id
        where k.id = (v_claims ->> 'key_id')::uuid
            and k.secret_hash = decode(v_claims ->> 'key_hash', 'hex')
            and k.environment = coalesce(v_claims ->> 'key_environment', k.environment)
            and k.revoked_at is null and k.expires_at > clock_timestamp() and s.disabled_at is null;
    elsif v_claims ->> 'kind' = 'system' then
        select 'system', null, t.tenant_id, null, null, null, null, null,
            (select array_agg(p.permission) from private.permissions p where p.system)
        into v_principal
        from app.tenants t where t.tenant_id = (v_claims ->> 'tenant_id')::uuid;
    end if;
    return v_principal;
end
$$;

-- The door of reads: what follows in the transaction is the caller's. Closed to whose session is over.
create or replace function app.begin_v1(p_claims text, p_permission text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('request.jwt.claims', p_claims, true);
    perform set_config('role', 'authenticated', true);
    perform private.refuse_ended_session();
    perform private.require(p_permission);
    perform private.note_key_use();
end
$$;

-- The door of calls: the answer that is kept of the same request, or what the function answers now. Closed to whose session is over.
create or replace function app.call_v1(p_claims text, p_function text, p_args jsonb, p_key text default null, p_request text default null)
returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_result jsonb;
    v_replayed boolean := false;
begin
    perform set_config('request.jwt.claims', p_claims, true);
    perform set_config('role', 'authenticated', true);
    perform private.refuse_ended_session();
    if p_key is not null then
        v_result := private.find_answer(p_key, p_request);
        v_replayed := v_result is not null;
    end if;
    if not v_replayed then
        execute format('select app.%I($1)', p_function) into v_result using p_args;
        if p_key is not null and v_result -> 'recorded' is distinct from 'false'::jsonb then
            perform private.keep_answer(p_key, p_request, v_result);
        end if;
    end if;
    perform private.note_key_use();
    return jsonb_build_object('result', v_result, 'replayed', v_replayed);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function private.refuse_ended_session to authenticated;
