-- What was read in a run with these tools, the newest first, without what was answered: an answer may be large.
-- overtaken: as in premises.sql.
select o.id, o.tool, o.source, o.status, o.args, o.error, o.number, o.created_at, o.purpose,
    o.purpose is not distinct from 'before' and o.action_id <> %(action_id)s and exists (select from app.actions a
        join app.attempts t on t.tenant_id = a.tenant_id and t.action_id = a.id and t.sent_at is not null
        where a.tenant_id = o.tenant_id and a.id = o.action_id and a.status in ('executing', 'succeeded', 'unknown')) as overtaken
from app.observations o
where o.run_id = %(run_id)s and o.tool = any(%(tools)s) and o.status in ('succeeded', 'failed') and o.erased_at is null
order by o.created_at desc, o.id desc
limit 200
