-- Classes of exceptions of the last days, the most frequent first, each as its newest exception tells it, with the amendment of it that was
-- adopted last, or else proposed, and how often it came before and after. A rate is of a week at least, so that a first day is no trend.
with found as (
    select e.tenant_id, e.class_key, count(*) as times, max(e.created_at) as last_seen,
        jsonb_build_object('days', %(days)s::integer, 'count', count(*), 'open', count(*) filter (where e.status = 'open'),
            'approved', count(*) filter (where e.status = 'approved'), 'rejected', count(*) filter (where e.status = 'rejected'),
            'edited', count(*) filter (where e.status = 'edited'), 'answered', count(*) filter (where e.status = 'answered'),
            'expired', count(*) filter (where e.status = 'expired'), 'first_seen', min(e.created_at), 'last_seen', max(e.created_at)) as recurrence
    from app.exceptions e
    where e.class_key is not null and e.created_at > now() - make_interval(days => %(days)s::integer)
    group by e.tenant_id, e.class_key
    order by count(*) desc, max(e.created_at) desc, e.class_key
    limit %(limit)s
)
select (select o.class from app.exceptions o where o.tenant_id = f.tenant_id and o.class_key = f.class_key order by o.created_at desc limit 1) as class,
    f.recurrence, (
    select jsonb_build_object('id', a.id, 'kind', a.kind, 'status', a.status, 'adopted_at', case when a.status = 'adopted' then a.decided_at end,
        'constitution_version', a.constitution_version, 'rule_id', a.rule -> 'id', 'expires_at', a.rule -> 'expires_at',
        'in_force', a.status = 'adopted' and coalesce((a.rule ->> 'expires_at')::timestamptz > now(), true)
            and exists (select from jsonb_array_elements((select v.rules from app.constitution_versions v order by v.version desc limit 1)) r
                where r ->> 'id' = a.rule ->> 'id'),
        'before', (select jsonb_build_object('count', count(*), 'days', round(d.days, 2), 'per_week', round(count(*) * 7 / greatest(d.days, 7), 2))
            from (select coalesce(extract(epoch from a.decided_at - min(o.created_at)) / 86400, 0) as days from app.exceptions o
                where o.class_key = f.class_key and o.created_at < a.decided_at and o.created_at > a.decided_at - interval '366 days') d
            left join app.exceptions o on o.class_key = f.class_key and o.created_at < a.decided_at
                and o.created_at > a.decided_at - interval '366 days'
            where a.status = 'adopted' group by d.days),
        'after', (select jsonb_build_object('count', count(o.id), 'days', round(d.days, 2), 'per_week', round(count(o.id) * 7 / greatest(d.days, 7), 2))
            from (select extract(epoch from now() - a.decided_at) / 86400 as days) d
            left join app.exceptions o on o.class_key = f.class_key and o.created_at >= a.decided_at
            where a.status = 'adopted' group by d.days))
    from app.amendments a where a.class_key = f.class_key and a.status in ('adopted', 'proposed')
    order by a.status = 'adopted' desc, a.decided_at desc, a.created_at desc limit 1) as amendment
from found f
order by f.times desc, f.last_seen desc, f.class_key
