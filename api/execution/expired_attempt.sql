-- An attempt under way, with its action's tool. tries: how many the action has used since it was last requeued, this one included.
-- sent: whether it may have reached the provider; maybe_reached: whether an earlier one may have.
select (select count(*) from app.attempts e where e.tenant_id = t.tenant_id and e.action_id = t.action_id and not e.put_off
        and e.number > coalesce((select max(r.attempts) from app.requeues r where r.tenant_id = t.tenant_id and r.action_id = t.action_id), 0)) as tries,
    a.tool, a.contract_version, t.sent_at is not null as sent,
    exists (select from app.attempts e where e.tenant_id = t.tenant_id and e.action_id = t.action_id
        and e.response ->> 'reached' = 'maybe') as maybe_reached
from app.attempts t
join app.actions a on a.tenant_id = t.tenant_id and a.id = t.action_id
where t.id = %(id)s and t.status = 'executing'
