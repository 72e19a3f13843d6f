-- Supabase Auth may be kept in another database than this one; then its sessions cannot be looked up here.

-- One row: whether `auth.sessions` of this database is where the sessions of its people are. Only the owner of the database says so;
-- a setting of a session would be the caller's to change.
create table private.auth_place (
    what text primary key default 'auth' check (what = 'auth'),
    here boolean not null default true
);
revoke all on private.auth_place from public;
insert into private.auth_place default values;

-- As it was, where sessions are kept here. Elsewhere a session that was signed out ends with its access token.
create or replace function private.session_over(p_claims jsonb) returns boolean
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

revoke all on all functions in schema app, private from public;
