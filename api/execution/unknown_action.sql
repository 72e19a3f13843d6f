-- What is needed to read an action back: its tool, arguments and idempotency key.
select a.tenant_id, a.run_id, a.tool, a.payload::jsonb -> 'args' as args, 'cs_' || a.id as idempotency_key
from app.actions a where a.id = %(id)s
