-- The timeline of an incident, newest first, after the given key.
select e.id, e.kind, e.text, e.digest, e.link_type, e.link_id, e.before, e.after, e.written_by, e.created_at,
    coalesce(nullif(m.name, ''), m.email, s.name) as written_by_name, coalesce(nullif(o.name, ''), o.email) as after_name
from app.incident_entries e
left join app.members m on m.tenant_id = e.tenant_id and 'user:' || m.user_id = e.written_by
left join app.service_accounts s on s.tenant_id = e.tenant_id and 'service:' || s.id = e.written_by
left join app.members o on o.tenant_id = e.tenant_id and e.kind = 'owner_changed' and o.user_id::text = e.after
where e.tenant_id = (select private.current_tenant()) and e.incident_id = %(incident_id)s
    and (%(after_at)s::timestamptz is null or (e.created_at, e.id) < (%(after_at)s, %(after_id)s))
order by e.created_at desc, e.id desc
limit %(limit)s
