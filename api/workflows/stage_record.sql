-- What a workflow's newest proposals within a window would have come to without its stage, by tool, and what people said of them. A
-- proposal is `alone` where nothing but the stage objected, `refused` where something else denied, and else `asks`. Not of undos.
-- Looked up one by one, as these are few of many.
with newest as materialized (
    select s.tenant_id, s.id, s.tool, s.edited_by, s.status_reason from app.actions s
    where s.tenant_id = (select private.current_tenant()) and s.workflow_id = (select id from app.workflows where slug = %(slug)s)
        and s.compensates is null and s.created_at > now() - make_interval(days => %(days)s)
    order by s.created_at desc, s.id desc
    limit %(limit)s
), seen as materialized (
    select a.tool, private.agent_was_right(e.status, e.decided_by, a.edited_by, a.status_reason) as agreed,
        (select case when bool_or(r ->> 'outcome' = 'deny') then 'refused' when bool_or(r ->> 'outcome' = 'escalate') then 'asks' else 'alone' end
            from jsonb_array_elements(d.reasons) r where r ->> 'check' <> 'stage') as would
    from newest a
    cross join lateral (select o.reasons from app.decisions o where o.tenant_id = a.tenant_id and o.action_id = a.id limit 1) d
    left join lateral (select o.status, o.decided_by from app.exceptions o
        where o.tenant_id = a.tenant_id and o.action_id = a.id limit 1) e on true
)
select tool, count(*) as proposed,
    count(*) filter (where would = 'alone') as alone,
    count(*) filter (where would = 'asks') as asks,
    count(*) filter (where would = 'refused') as refused,
    count(*) filter (where would = 'alone' and agreed is not null) as alone_judged,
    count(*) filter (where would = 'alone' and agreed) as alone_agreed,
    count(*) filter (where would = 'asks' and agreed is not null) as asks_judged,
    count(*) filter (where would = 'asks' and agreed) as asks_agreed
from seen
group by tool
order by tool
