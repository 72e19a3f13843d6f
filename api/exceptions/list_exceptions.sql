-- The queue after the given key. {key}, {direction} and {beyond} are those of one of the orders that the service knows, and nothing else.
-- Those of the page are found in that order before anything is looked up for them.
select e.id, e.kind, e.status, e.severity, e.summary, e.action_id, e.run_id, w.slug as workflow, w.title as workflow_title, a.tool, a.effect, a.digest, e.class_key,
    e.assigned_to, m.name as assigned_name, e.expires_at, e.created_at, e.decided_at,
    case when private.currency_of_worth(e.class) is not null then jsonb_build_object('amount', private.worth_of(e.class),
        'currency', private.currency_of_worth(e.class)) end as amount,
    -- Why it stopped: what escalated of an approval, and what denied of what is done by hand.
    (select coalesce(jsonb_agg(distinct r ->> 'check'), '[]') from app.decisions d, jsonb_array_elements(d.reasons) r
        where d.tenant_id = e.tenant_id and d.action_id = e.action_id
            and r ->> 'outcome' = case e.kind when 'manual' then 'deny' else 'escalate' end) as stopped_by,
    e.sort_key
from (
    select e.*, {key} as sort_key
    from app.exceptions e
    where (%(status)s::text is null or e.status = %(status)s or %(status)s = 'decided' and e.status <> 'open')
        and (%(kind)s::text is null or e.kind = %(kind)s)
        and (%(class_key)s::text is null or e.class_key = %(class_key)s)
        and (%(severity)s::text is null or e.severity = %(severity)s)
        and (%(workflow)s::text is null or (select o.workflow_id from app.actions o where o.tenant_id = e.tenant_id and o.id = e.action_id)
            in (select o.id from app.workflows o where o.slug = %(workflow)s))
        and (%(nobody)s::boolean is not true or e.assigned_to is null)
        and (%(assigned_to)s::uuid is null or e.assigned_to = %(assigned_to)s)
        and (%(created_before)s::timestamptz is null or e.created_at < %(created_before)s)
        and (%(ids)s::uuid[] is null or e.id = any (%(ids)s))
        -- What this person can still answer: neither said yes to already, nor proposed, nor edited.
        and (%(of_others)s::uuid is null or not exists (select from app.approvals o where o.tenant_id = e.tenant_id
                and o.action_id = e.action_id and o.user_id = %(of_others)s)
            and not exists (select from app.actions o where o.tenant_id = e.tenant_id and o.id = e.action_id
                and %(of_others)s in (o.proposed_by, o.edited_by)))
        and (%(after_id)s::uuid is null or ({key}, e.id) {beyond} (%(after)s, %(after_id)s))
    order by {key} {direction}, e.id {direction}
    limit %(limit)s
) e
join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
join app.workflows w on w.tenant_id = a.tenant_id and w.id = a.workflow_id
left join app.members m on m.tenant_id = e.tenant_id and m.user_id = e.assigned_to
order by e.sort_key {direction}, e.id {direction}
