-- When tokens that nobody calls with are refreshed: well before the grant ends by lying idle (the caller's to say), and before the
-- refresh token ends: a week, or half of its life. At most once a day, also where a refresh does not prolong anything. Where no end
-- of the refresh token is known, idleness alone counts: `greatest` passes over a null, and made such tokens due every day.
create or replace function private.next_renewal(p_before_idle timestamptz, p_refresh_expires_at timestamptz) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
    select least(p_before_idle, case when p_refresh_expires_at is not null then greatest(now() + interval '1 day',
        p_refresh_expires_at - least(interval '7 days', (p_refresh_expires_at - now()) / 2)) end)
$$;

revoke all on all functions in schema app, private from public;
