-- Whom each of these goes to, by the keys of the directory that its class keeps: what the directory has under each, and the short texts of
-- its payload, among which are those that the keys were made of. Of many keys the first are looked up; `keys` counts all of them.
with asked as (
    select e.id, e.environment, c.key, split_part(c.key, ':', 1) as kind, substr(c.key, strpos(c.key, ':') + 1) as value,
        jsonb_array_length(e.class -> 'counterparties') as keys, a.payload
    from app.exceptions e
    join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
    cross join lateral jsonb_array_elements_text(e.class -> 'counterparties') with ordinality c (key, place)
    where e.id = any (%(ids)s::uuid[]) and c.place <= %(most)s
)
select a.id, a.key, a.keys, n.entries,
    -- A payload that is large is not read for a list.
    case when octet_length(a.payload) <= %(size)s then (select coalesce(jsonb_agg(v.value), '[]')
        from jsonb_each(a.payload::jsonb -> 'args') v where jsonb_typeof(v.value) = 'string') else '[]' end as texts
from asked a
cross join lateral (
    select coalesce(jsonb_agg(jsonb_build_object('name', f.name, 'trusted', f.trusted) order by f.name), '[]') as entries
    from (
        select o.id, o.name, bool_or(o.trusted_from <= now()) as trusted
        from (
            select x.id, x.name, d.trusted_from
            from (values ('bank_account', 'account', a.value), ('email', 'email', a.value), ('domain', 'domain', a.value),
                ('domain', 'email', split_part(a.value, '@', -1))) w (type, kind, key)
            join app.directory_details d on d.type = w.type and d.key = w.key and d.environment = a.environment and d.status = 'active'
            join app.directory_entries x on x.tenant_id = d.tenant_id and x.id = d.entry_id and x.status = 'active'
            where w.kind = a.kind
            union all
            select x.id, x.name, x.created_at
            from app.directory_entries x
            where x.key = a.value and a.kind = 'name' and x.environment = a.environment and x.status = 'active'
        ) o
        group by o.id, o.name
        order by o.name
        limit 3
    ) f
) n
order by a.id, a.key
