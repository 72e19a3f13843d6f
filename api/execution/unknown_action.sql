-- An action's status and, while its outcome is unknown, what is needed to read it back (null otherwise).
select a.tenant_id, a.run_id, a.tool, a.status,
    case when a.status = 'unknown' then a.payload::jsonb -> 'args' end as args,
    case when a.status = 'unknown' then 'cs_' || a.id end as idempotency_key
from app.actions a where a.id = %(id)s
