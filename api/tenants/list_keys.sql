-- The keys of one service account, without anything that could be used; one row of nulls when it has none.
select k.id, a.id as service_account_id, k.environment, k.prefix, k.scopes, k.expires_at, k.revoked_at
from app.service_accounts a
left join app.api_keys k on k.tenant_id = a.tenant_id and k.service_account_id = a.id
where a.id = %(service_account_id)s
order by k.created_at desc, k.id desc limit 500
