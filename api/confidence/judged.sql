-- What people decided within a window of what the workflow's agents claimed, by tool and claimed confidence. Not of undos, in
-- which no agent claims anything.
select tool, confidence as claimed, count(*) as judged, count(*) filter (where agent_was_right) as approved
from (
    select a.tool, a.confidence, private.agent_was_right(e.status, e.decided_by, a.edited_by, a.status_reason) as agent_was_right
    from app.exceptions e
    join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
    where a.workflow_id = %(workflow_id)s and a.compensates is null and (%(tool)s::text is null or a.tool = %(tool)s)
        and e.decided_at > now() - make_interval(days => %(days)s)
        and (%(since)s::timestamptz is null or e.decided_at > %(since)s)) j
where agent_was_right is not null
group by tool, confidence
order by tool, confidence
