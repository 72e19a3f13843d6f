-- One exception that was decided, with its class and what people approved in that. Of one that was edited it is that of the payload
-- which took its place.
with recursive chain as (
    select e.id, e.action_id, e.status, 1 as depth from app.exceptions e where e.id = %(id)s
    union all
    select n.id, n.action_id, n.status, c.depth + 1
    from chain c
    join app.actions s on s.supersedes = c.action_id
    join app.exceptions n on n.tenant_id = s.tenant_id and n.action_id = s.id
    where c.status = 'edited' and c.depth < 50
)
select e.id, e.status, e.environment, e.class, a.confidence::float8 as confidence, d.document as decision,
    (select coalesce(jsonb_object_agg(m.currency, m.most), '{}') from (
        select w.key as currency, max(w.value::bigint) as most
        from app.exceptions o cross join lateral jsonb_each_text(o.class -> 'worth') w
        where o.tenant_id = e.tenant_id and o.class_key = e.class_key and o.status = 'approved' group by w.key) m) as most_approved,
    (select min(x.confidence)::float8 from app.exceptions o join app.actions x on x.tenant_id = o.tenant_id and x.id = o.action_id
        where o.tenant_id = e.tenant_id and o.class_key = e.class_key and o.status = 'approved') as least_approved
from (select id from chain order by depth desc limit 1) last
join app.exceptions e on e.id = last.id
join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
join app.decisions d on d.tenant_id = a.tenant_id and d.action_id = a.id
