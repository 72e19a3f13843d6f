-- Versions of the constitution, newest first; only the newest `limit`.
select version, rules, reason, published_by, published_at
from app.constitution_versions order by version desc limit %(limit)s
