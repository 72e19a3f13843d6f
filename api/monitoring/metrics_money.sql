-- Money that actions have moved, by currency, today (UTC) and in the window: what their contracts label as amounts.
select w.key as currency, sum(w.value::numeric)::bigint as amount, count(*) as actions,
    coalesce(sum(w.value::numeric) filter (where a.updated_at >= %(today)s), 0)::bigint as amount_today,
    count(*) filter (where a.updated_at >= %(today)s) as actions_today
from app.actions a
join app.exceptions e on e.tenant_id = a.tenant_id and e.action_id = a.id
cross join lateral jsonb_each_text(case when jsonb_typeof(e.class -> 'worth') = 'object' then e.class -> 'worth' else '{}' end) w
where a.status = 'succeeded' and a.effect = 'money_movement' and a.updated_at >= %(since)s
    and (%(environment)s::text is null or a.environment = %(environment)s)
group by w.key
order by w.key
