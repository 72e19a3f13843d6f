-- The limits of live workflows, the fullest first, with what each has counted in its own window. Of one that counts several things
-- apart (agents, counterparties, tools) it is the fullest that is shown. Keys: api/gate/limits.py.
select w.slug as workflow, w.title, w.environment, l.name, l.window_hours, l.currency, l.max_amount, l.max_count, coalesce(l.per, '[]') as per,
    coalesce(u.amount, 0)::bigint as amount, coalesce(u.count, 0)::bigint as count,
    greatest(coalesce(u.amount, 0) / nullif(l.max_amount, 0), coalesce(u.count, 0)::numeric / nullif(l.max_count, 0), 0)::float8 as share
from app.workflows w
join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
cross join lateral jsonb_to_recordset(coalesce(v.spec -> 'limits', '[]'))
    as l (name text, window_hours integer, currency text, max_amount bigint, max_count bigint, per jsonb)
cross join lateral (select concat_ws('/', w.id, l.name, coalesce(l.currency, '-')) as prefix) p
left join lateral (
    select sum(r.amount) as amount, sum(r.count) as count
    from (
        -- What may be the fullest, by everything that fitted and what was let through beyond: of the few, below, it is known exactly.
        -- What follows the prefix in a key begins with `/`, and `0` is the character after it.
        select r.key from app.limit_reservations r
        where r.tenant_id = w.tenant_id and r.key ~>=~ p.prefix and r.key ~<~ (p.prefix || '0')
            and r.created_at > now() - make_interval(hours => l.window_hours)
            and (not r.over or (select a.status from app.actions a where a.tenant_id = r.tenant_id and a.id = r.action_id)
                not in ('awaiting_approval', 'denied', 'rejected', 'expired', 'superseded', 'cancelled', 'failed'))
        group by r.key
        order by sum(r.amount) desc, sum(r.count) desc
        limit 10) k
    join app.limit_reservations r on r.tenant_id = w.tenant_id and r.key = k.key
        and r.created_at > now() - make_interval(hours => l.window_hours)
    join app.actions a on a.tenant_id = r.tenant_id and a.id = r.action_id
    where a.status not in ('denied', 'rejected', 'expired', 'superseded', 'cancelled', 'failed')
        and not (r.over and a.status = 'awaiting_approval')
    group by r.key
    order by sum(r.amount) desc, sum(r.count) desc
    limit 1) u on true
where (%(environment)s::text is null or w.environment = %(environment)s)
order by share desc, w.slug, l.name
limit 50
