-- Alerts, newest first, after the given key; of one status, kind, severity or environment if asked for.
select a.id, a.environment, a.kind, a.severity, a.subject_type, a.subject_id, a.title, a.detail, a.status, a.occurrences,
    a.raised_by, a.raised_at, a.last_raised_at, a.acknowledged_by, a.acknowledged_at, a.acknowledgement,
    a.resolved_by, a.resolved_at, a.resolution, a.owner_id, a.contact, coalesce(nullif(m.name, ''), m.email) as owner_name
from app.alerts a
left join app.members m on m.tenant_id = a.tenant_id and m.user_id = a.owner_id
where a.id = coalesce(%(id)s, a.id)
    and (%(status)s::text is null or a.status = %(status)s)
    and (%(kind)s::text is null or a.kind = %(kind)s)
    and (%(severity)s::text is null or a.severity = %(severity)s)
    and (%(environment)s::text is null or a.environment = %(environment)s)
    and (%(after_at)s::timestamptz is null or (a.raised_at, a.id) < (%(after_at)s, %(after_id)s))
order by a.raised_at desc, a.id desc
limit %(limit)s
