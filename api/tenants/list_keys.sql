-- The keys of one service account, without anything that could be used; one row of nulls when it has none.
select k.id, a.id as service_account_id, k.environment, k.prefix, k.scopes, k.expires_at, k.revoked_at,
    k.created_by as issued_by, k.issuer_left_at, u.used_at as last_used_at,
    coalesce(e.active, false) as active,
    coalesce(e.active and k.expires_at < now() + interval '14 days', false) as expires_soon
from app.service_accounts a
left join app.api_keys k on k.tenant_id = a.tenant_id and k.service_account_id = a.id
left join app.key_uses u on u.tenant_id = k.tenant_id and u.key_id = k.id
cross join lateral (select k.revoked_at is null and k.expires_at > now() and a.disabled_at is null as active) e
where a.id = %(service_account_id)s
order by k.created_at desc, k.id desc limit 500
