-- What an exception is about, as far as looking at it takes: the action, its run, and how much had been read when it was decided.
select e.id as exception_id, e.tenant_id, e.status, a.id as action_id, a.run_id, a.tool, a.payload::jsonb -> 'args' as args,
    (d.basis ->> 'observed')::integer as observed,
    jsonb_build_object('tenant_id', r.tenant_id, 'run_id', r.id,
        'keys', (select k.keys from app.run_keys k where k.tenant_id = r.tenant_id and k.run_id = r.id)) as keys
from app.exceptions e
join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
join app.decisions d on d.tenant_id = a.tenant_id and d.action_id = a.id
join app.runs r on r.tenant_id = a.tenant_id and r.id = a.run_id
where e.id = %(id)s
