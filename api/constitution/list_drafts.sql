-- Drafts, newest first, after the given key.
select id, base_version, rules, reason, digest, widens, status, author, origin_version, amendment_id, revision, decided_by, decided_at,
    decision_reason, version, created_at, updated_at
from app.constitution_drafts
where (%(status)s::text is null or status = %(status)s)
    and (%(id)s::uuid is null or id = %(id)s)
    and (%(after_at)s::timestamptz is null or (created_at, id) < (%(after_at)s, %(after_id)s))
order by created_at desc, id desc
limit %(limit)s
