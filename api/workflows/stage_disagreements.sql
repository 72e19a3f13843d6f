-- The newest proposals of a workflow within a window that its stage alone stopped and that people then did not approve as they were.
select a.id as action_id, e.id as exception_id, a.tool, e.summary, e.status, e.reason, e.decided_at
from app.exceptions e
join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
join app.decisions d on d.tenant_id = a.tenant_id and d.action_id = a.id
where a.workflow_id = (select id from app.workflows where slug = %(slug)s) and a.compensates is null
    and e.decided_at > now() - make_interval(days => %(days)s)
    -- Most were approved: those need not be looked at any further.
    and e.status in ('rejected', 'edited', 'answered')
    and not private.agent_was_right(e.status, e.decided_by, a.edited_by, a.status_reason)
    and not exists (select from jsonb_array_elements(d.reasons) r where r ->> 'check' <> 'stage')
order by e.decided_at desc, e.id desc
limit 20
