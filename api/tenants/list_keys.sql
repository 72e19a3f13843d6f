-- The keys of one service account, without anything that could be used.
select id, service_account_id, environment, prefix, scopes, expires_at, revoked_at
from app.api_keys where service_account_id = %(service_account_id)s order by created_at desc, id desc limit 500
