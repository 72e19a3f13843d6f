-- What the run had read with these tools when an action was decided, the newest first, and the keys to open it.
-- overtaken: it was read before another write of the run, to see what that one would change, and that one may be done.
select o.id, o.tool, o.args, o.result, o.number,
    o.purpose is not distinct from 'before' and o.action_id <> %(action_id)s and exists (select from app.actions a
        join app.attempts t on t.tenant_id = a.tenant_id and t.action_id = a.id and t.sent_at is not null
        where a.tenant_id = o.tenant_id and a.id = o.action_id and a.status in ('executing', 'succeeded', 'unknown')) as overtaken,
    jsonb_build_object('tenant_id', r.tenant_id, 'run_id', r.id,
        'keys', (select k.keys from app.run_keys k where k.tenant_id = r.tenant_id and k.run_id = r.id)) as keys
from app.observations o
join app.runs r on r.tenant_id = o.tenant_id and r.id = o.run_id
where o.run_id = %(run_id)s and o.tool = any(%(tools)s) and o.status = 'succeeded' and o.erased_at is null
    and (o.number is null or o.number <= %(observed)s)
order by o.number desc nulls last, o.created_at desc, o.id desc
limit 200
