-- What is known of what was asked: the very thing, and what looks nearly like it (compared in Python by its skeleton).
-- Of two skeletons that differ in one place, which is two characters at most, either the beginnings or the ends are equal.
with looked as (
    select 'name' as of_what, s as skeleton, greatest((length(s) - 3) / 2, 0) as part from unnest(array[%(name_skeleton)s::text]) s
    union all
    select 'domain', s, greatest((length(s) - 3) / 2, 0) from unnest(%(domain_skeletons)s::text[]) s
)
select 'same' as how, d.type, d.key, d.skeleton, e.id, e.name, e.kind, d.trusted_from
from app.directory_details d
join app.directory_entries e on e.tenant_id = d.tenant_id and e.id = d.entry_id
where d.environment = %(environment)s and d.status = 'active' and e.status = 'active' and e.id is distinct from %(except)s
    and (d.type, d.key) in (select * from unnest(%(types)s::text[], %(keys)s::text[]))
union all
select case when e.key = %(name)s then 'same' else 'near' end, 'name', e.key, e.skeleton, e.id, e.name, e.kind, e.created_at
from app.directory_entries e
where e.environment = %(environment)s and e.status = 'active' and e.id is distinct from %(except)s
    and (e.key = %(name)s or exists (select from looked l where l.of_what = 'name'
        and length(e.skeleton) between length(l.skeleton) - 1 and length(l.skeleton) + 1
        and (left(e.skeleton, l.part) = left(l.skeleton, l.part) or right(e.skeleton, l.part) = right(l.skeleton, l.part))))
union all
select 'near', d.type, d.key, d.skeleton, e.id, e.name, e.kind, d.trusted_from
from app.directory_details d
join app.directory_entries e on e.tenant_id = d.tenant_id and e.id = d.entry_id
where d.environment = %(environment)s and d.status = 'active' and e.status = 'active' and e.id is distinct from %(except)s
    and d.type in ('domain', 'email') and exists (select from looked l where l.of_what = 'domain'
        and length(d.skeleton) between length(l.skeleton) - 1 and length(l.skeleton) + 1
        and (left(d.skeleton, l.part) = left(l.skeleton, l.part) or right(d.skeleton, l.part) = right(l.skeleton, l.part)))
