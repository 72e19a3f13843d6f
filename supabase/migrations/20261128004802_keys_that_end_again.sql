-- As it was, but that a key is told of again where what took its place was revoked since: then it is the last one once more.
create or replace function app.claim_ending_keys_v1(p_limit integer) returns jsonb
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

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_ending_keys_v1 to countersign_worker;
