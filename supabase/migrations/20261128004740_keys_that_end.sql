-- A key that is in use and ends, with no other to take its place, stops an integration without a word: it is an alert two weeks before,
-- and critical two days before.

-- The last key of a service account in an environment: of those that are good now, none ends later.
create function private.is_last_key(p_key app.api_keys) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select p_key.revoked_at is null and p_key.expires_at > clock_timestamp()
        and not exists (select from app.service_accounts where tenant_id = p_key.tenant_id and id = p_key.service_account_id
            and disabled_at is not null)
        and not exists (select from app.api_keys k where k.tenant_id = p_key.tenant_id and k.service_account_id = p_key.service_account_id
            and k.environment = p_key.environment and k.id <> p_key.id and k.revoked_at is null and k.expires_at > p_key.expires_at)
$$;

create function private.severity_of_end(p_ends timestamptz) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when p_ends < clock_timestamp() + interval '2 days' then 'critical' else 'warning' end
$$;

create index api_keys_by_end on app.api_keys (expires_at) where revoked_at is null;

-- Keys of any tenant that were used within 30 days, end within 14, are the last of their account, and of which nobody was told that it is
-- so bad, as ids, those that end first first. Of a key that was told of and is the last one again, since what took its place was revoked,
-- it is told again.
create function app.claim_ending_keys_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', d.tenant_id, 'id', d.id)), '[]') from (
        select k.tenant_id, k.id from app.api_keys k join app.key_uses u on u.tenant_id = k.tenant_id and u.key_id = k.id
        where k.revoked_at is null and k.expires_at between clock_timestamp() and clock_timestamp() + interval '14 days'
            and u.used_at > clock_timestamp() - interval '30 days' and private.is_last_key(k) and not exists (select from app.alerts a
                where a.tenant_id = k.tenant_id and a.kind = 'key.ending' and a.subject_type = 'key' and a.subject_id = k.id::text
                    and private.severity_rank(a.severity) >= private.severity_rank(private.severity_of_end(k.expires_at))
                    and (a.status <> 'resolved' or not exists (select from app.api_keys o where o.tenant_id = k.tenant_id
                        and o.service_account_id = k.service_account_id and o.environment = k.environment and o.revoked_at > a.resolved_at)))
        order by k.expires_at limit p_limit) d
$$;

-- Tells whoever issued it, or who answers for the organisation, that a key ends. args: {id}
create function app.tell_ending_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('alerts.raise');
    v_key app.api_keys;
begin
    select * into v_key from app.api_keys where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid
        and expires_at < clock_timestamp() + interval '14 days' for share;
    if not found or not private.is_last_key(v_key) then
        return '{"recorded": false}';
    end if;
    perform private.raise_alert(v_key.tenant_id, v_key.environment, 'key.ending', private.severity_of_end(v_key.expires_at), 'key', v_key.id::text,
        format('An API key that is in use ends on %s; rotate it, or what uses it stops.',
            to_char(v_key.expires_at at time zone 'utc', 'YYYY-MM-DD HH24:MI "UTC"')),
        jsonb_build_object('service_account_id', v_key.service_account_id, 'ends_at', v_key.expires_at), v_key.created_by);
    return '{"recorded": true}';
end
$$;

-- A key that is issued takes the place of those that end before it; what is revoked, or whose account is over, stops nothing unforeseen.
create function private.ending_is_over() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_key uuid;
begin
    for v_key in select k.id from app.api_keys k join app.alerts a on a.tenant_id = k.tenant_id and a.kind = 'key.ending'
            and a.subject_type = 'key' and a.subject_id = k.id::text and a.status <> 'resolved'
        where k.tenant_id = new.tenant_id and not private.is_last_key(k) order by k.id loop
        perform private.resolve_alert(new.tenant_id, 'key.ending', 'key', v_key::text, 'Another key takes its place, or nothing uses it any more.');
    end loop;
    return null;
end
$$;
create trigger api_keys_end after insert or update of revoked_at on app.api_keys
    for each row execute function private.ending_is_over();
create trigger service_accounts_end after update of disabled_at on app.service_accounts
    for each row execute function private.ending_is_over();
select private.guard_table('app.api_keys');
select private.guard_table('app.service_accounts');

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_ending_keys_v1 to countersign_worker;
grant execute on function app.tell_ending_key_v1 to authenticated;
