-- Versions of the constitution, newest first; only the newest `limit`, or those named.
select version, rules, reason, published_by, published_at, draft_id, author, digest, widened
from app.constitution_versions
where (%(versions)s::int[] is null or version = any (%(versions)s))
order by version desc limit %(limit)s
