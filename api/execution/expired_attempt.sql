-- An attempt under way, with its action's tool. number: which one it is since the action was last requeued. sent: whether it may have
-- reached the provider; maybe_reached: whether an earlier one may have.
select t.number - coalesce((select max(r.attempts) from app.requeues r where r.tenant_id = t.tenant_id and r.action_id = t.action_id), 0) as number,
    a.tool, a.contract_version, t.sent_at is not null as sent,
    exists (select from app.attempts e where e.tenant_id = t.tenant_id and e.action_id = t.action_id
        and e.response ->> 'reached' = 'maybe') as maybe_reached
from app.attempts t
join app.actions a on a.tenant_id = t.tenant_id and a.id = t.action_id
where t.id = %(id)s and t.status = 'executing'
