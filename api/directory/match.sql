-- What is known of what was asked: the very thing, and what looks nearly like it (compared in Python by its skeleton).
select 'same' as how, d.type, d.key, d.skeleton, e.id, e.name, e.kind, d.trusted_from
from app.directory_details d
join app.directory_entries e on e.tenant_id = d.tenant_id and e.id = d.entry_id
where d.environment = %(environment)s and d.status = 'active' and e.id is distinct from %(except)s
    and (d.type, d.key) in (select * from unnest(%(types)s::text[], %(keys)s::text[]))
union all
select case when e.key = %(name)s then 'same' else 'near' end, 'name', e.key, e.skeleton, e.id, e.name, e.kind, e.created_at
from app.directory_entries e
where e.environment = %(environment)s and e.status = 'active' and e.id is distinct from %(except)s
    and (e.key = %(name)s or length(e.skeleton) between length(%(name_skeleton)s) - 1 and length(%(name_skeleton)s) + 1)
union all
select 'near', d.type, d.key, d.skeleton, e.id, e.name, e.kind, d.trusted_from
from app.directory_details d
join app.directory_entries e on e.tenant_id = d.tenant_id and e.id = d.entry_id
where d.environment = %(environment)s and d.status = 'active' and e.id is distinct from %(except)s and d.type in ('domain', 'email')
    and exists (select from unnest(%(domain_skeletons)s::text[]) s where length(d.skeleton) between length(s) - 1 and length(s) + 1)
