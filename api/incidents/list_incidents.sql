-- Incidents, newest first, after the given key; of one status, severity, environment, owner or matter if asked for. `unresolved` is every
-- status before `resolved`.
select i.id, i.environment, i.severity, i.status, i.title, -- what is long comes with the one that is asked for
    case when %(id)s::uuid is null then '' else i.description end as description, i.owner_id, i.subject_type, i.subject_id, i.opened_by, i.opened_at,
    i.acknowledged_by, i.acknowledged_at, i.contained_by, i.contained_at, i.resolved_by, i.resolved_at, i.reviewed_by, i.reviewed_at,
    coalesce(nullif(m.name, ''), m.email) as owner_name, coalesce(f.open, 0) as follow_ups_open, coalesce(f.overdue, 0) as follow_ups_overdue
from app.incidents i
left join app.members m on m.tenant_id = i.tenant_id and m.user_id = i.owner_id
left join lateral (
    select count(*) as open, count(*) filter (where due_on < (now() at time zone 'utc')::date) as overdue
    from app.incident_follow_ups f where f.tenant_id = i.tenant_id and f.incident_id = i.id and f.status = 'open') f on true
where i.tenant_id = (select private.current_tenant())
    and i.id = coalesce(%(id)s::uuid, i.id)
    and (%(status)s::text is null or i.status = %(status)s
        or %(status)s = 'unresolved' and i.status in ('open', 'acknowledged', 'contained'))
    and (%(severity)s::text is null or i.severity = %(severity)s)
    and (%(environment)s::text is null or i.environment = %(environment)s)
    and (%(owner_id)s::uuid is null or i.owner_id = %(owner_id)s)
    and (%(about_type)s::text is null or (i.subject_type, i.subject_id) = (%(about_type)s, %(about_id)s)
        or i.id in (select e.incident_id from app.incident_entries e where e.tenant_id = (select private.current_tenant())
            and e.link_type = %(about_type)s and e.link_id = %(about_id)s))
    and (%(after_at)s::timestamptz is null or (i.opened_at, i.id) < (%(after_at)s, %(after_id)s))
order by i.opened_at desc, i.id desc
limit %(limit)s
