-- Whom each of these goes to, by the keys of the directory that its class keeps: what the directory has under each, and the short texts of
-- its payload, among which are those that the keys were made of. Of many keys the first are looked up; `keys` counts all of them.
with chosen as materialized (
    select e.id, e.environment, e.class -> 'counterparties' as keys,
        -- A payload that is large is not read for a list.
        (select coalesce(jsonb_agg(v.value), '[]')
            from app.actions o, jsonb_each(case when octet_length(o.payload) <= %(size)s
                and jsonb_typeof(o.payload::jsonb -> 'args') = 'object' then o.payload::jsonb -> 'args' end) v
            where o.tenant_id = e.tenant_id and o.id = e.action_id and jsonb_typeof(v.value) = 'string') as texts
    from app.exceptions e
    where e.id = any (%(ids)s::uuid[])
), asked as (
    select c.id, c.environment, c.texts, jsonb_array_length(c.keys) as keys, k.key, split_part(k.key, ':', 1) as kind,
        substr(k.key, strpos(k.key, ':') + 1) as value
    from chosen c
    cross join lateral jsonb_array_elements_text(c.keys) with ordinality k (key, place)
    where k.place <= %(most)s
)
select a.id, a.key, a.keys, a.texts, n.entries
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
