-- Amendments, newest first, after the given key.
select id, status, kind, environment, exception_id, class_key, rule, digest, reason, proposed_by, contradictions, acknowledged, decided_by,
    decided_at, decision_reason, constitution_version, created_at
from app.amendments
where (%(status)s::text is null or status = %(status)s)
    and (%(class_key)s::text is null or class_key = %(class_key)s)
    and (%(after_at)s::timestamptz is null or (created_at, id) < (%(after_at)s, %(after_id)s))
order by created_at desc, id desc
limit %(limit)s
