-- Versions of the constitution without their rules, newest first, those before a number if it is given.
select version, jsonb_array_length(rules) as rules, reason, published_by, published_at, author, widened
from app.constitution_versions
where (%(before)s::int is null or version < %(before)s)
order by version desc limit %(limit)s
