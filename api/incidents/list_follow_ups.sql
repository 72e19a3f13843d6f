-- Follow-ups, of one incident by day, or of all after the given key; of one status or owner if asked for.
select f.id, f.incident_id, i.title as incident_title, f.what, f.owner_id, f.due_on, f.status, f.created_by, f.created_at, f.closed_by, f.closed_at,
    f.closing_note, coalesce(nullif(m.name, ''), m.email) as owner_name,
    f.status = 'open' and f.due_on < (now() at time zone 'utc')::date as overdue
from app.incident_follow_ups f
join app.incidents i on i.tenant_id = f.tenant_id and i.id = f.incident_id
left join app.members m on m.tenant_id = f.tenant_id and m.user_id = f.owner_id
where f.tenant_id = (select private.current_tenant())
    and (%(incident_id)s::uuid is null or f.incident_id = %(incident_id)s)
    and (%(status)s::text is null or f.status = %(status)s)
    and (%(owner_id)s::uuid is null or f.owner_id = %(owner_id)s)
    and (%(after_on)s::date is null or (f.due_on, f.id) > (%(after_on)s, %(after_id)s))
order by f.due_on, f.id
limit %(limit)s
