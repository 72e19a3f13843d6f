-- An action's status and, while its outcome is unknown, what is needed to read it back (null otherwise). sent_ago: seconds since its
-- last attempt ended. answered: whether the provider said, too late for a lease, that it was done.
select a.tenant_id, a.run_id, a.tool, a.contract_version, a.status,
    case when a.status = 'unknown' then a.payload::jsonb -> 'args' end as args,
    case when a.status = 'unknown' then 'cs_' || a.id end as idempotency_key,
    (select extract(epoch from now() - max(coalesce(t.finished_at, t.lease_expires_at)))::float8 from app.attempts t
        where t.tenant_id = a.tenant_id and t.action_id = a.id and t.sent_at is not null) as sent_ago,
    exists (select from app.late_answers l where l.tenant_id = a.tenant_id and l.action_id = a.id and l.outcome = 'succeeded') as answered
from app.actions a where a.id = %(id)s
