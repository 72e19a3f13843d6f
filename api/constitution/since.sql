-- Each rule in force, and the first of the versions up to now that all say it as it is; only the newest 30 versions are
-- looked at, and `at_least` tells of a rule that is as old as the oldest of those, and may be older.
with recent as materialized (
    select version, published_at, rules from app.constitution_versions order by version desc limit 30
), held as (
    select r.version, e.value ->> 'id' as id,
        row_number() over (partition by e.value order by r.version desc) + r.version - 1 as run
    from recent r, jsonb_array_elements(r.rules) as e
), since as (
    select id, min(version) as version from held where run = (select max(version) from recent) group by id
)
select s.id, s.version, r.published_at, s.version > 1 and s.version = (select min(version) from recent) as at_least
from since s
join recent r on r.version = s.version
