-- Entries, newest first, after the given key; by part of a name, or by a detail in full.
select e.id, e.environment, e.kind, e.name, e.status, e.version, e.created_at, e.updated_at, c.decided_by as checked_by,
    jsonb_build_object('kind', c.proposed_by_kind, 'id', c.proposed_by, 'name', coalesce(
        (select m.name from app.members m where m.tenant_id = c.tenant_id and m.user_id = c.proposed_by),
        (select s.name from app.service_accounts s where s.tenant_id = c.tenant_id and s.id = c.proposed_by))) as made_by,
    (select max(d.trusted_from) from app.directory_details d where d.tenant_id = e.tenant_id and d.entry_id = e.id
        and d.status = 'active' and d.trusted_from > now()) as cooling_off_until,
    (select o.id from app.directory_changes o where o.tenant_id = e.tenant_id and o.entry_id = e.id and o.status = 'open'
        and o.expires_at > now()) as open_change
from app.directory_entries e
join app.directory_changes c on c.tenant_id = e.tenant_id and c.id = e.change_id
where (%(environment)s::text is null or e.environment = %(environment)s)
    and (%(kind)s::text is null or e.kind = %(kind)s)
    and e.status = %(status)s
    and (%(words)s::text is null or position(%(words)s in e.key) > 0 or exists (
        select from app.directory_details d where d.tenant_id = e.tenant_id and d.entry_id = e.id and d.status = 'active'
            and (d.key = any (%(keys)s) or (d.type = 'external_id' and d.value ->> 'id' = %(search)s))))
    and (%(after_at)s::timestamptz is null or (e.created_at, e.id) < (%(after_at)s, %(after_id)s))
order by e.created_at desc, e.id desc
limit %(limit)s
