-- The tenant's connections, newest first; one when an id is given.
select id, provider, environment, access, status, status_reason, scopes_requested, scopes_granted, account, created_at
from app.connections
where id = coalesce(%(id)s, id)
order by created_at desc, id desc
limit 200
