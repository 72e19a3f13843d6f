-- What was read in a run with these tools, the newest first, without what was answered: an answer may be large.
-- Whoever reads a lot pushes nothing out but their own: looks, the gateway's reads and what clients say have a bound each, and so
-- has each before and after the decision. overtaken: as in premises.sql.
select o.id, o.tool, o.source, o.status, o.args, o.error, o.number, o.created_at, o.purpose,
    o.purpose is not distinct from 'before' and o.action_id <> %(action_id)s and exists (select from app.actions a
        join app.attempts t on t.tenant_id = a.tenant_id and t.action_id = a.id and t.sent_at is not null
        where a.tenant_id = o.tenant_id and a.id = o.action_id and a.status in ('executing', 'succeeded', 'unknown')) as overtaken
from (
    select id, tenant_id, action_id, tool, source, status, args, error, number, created_at, purpose, row_number() over (
        partition by source, purpose is not distinct from 'look' and action_id = %(action_id)s, number <= %(observed)s::integer
        order by created_at desc, id desc) as place
    from app.observations
    where run_id = %(run_id)s and tool = any(%(tools)s) and status in ('succeeded', 'failed') and erased_at is null
) o
where o.place <= 200
order by o.created_at desc, o.id desc
