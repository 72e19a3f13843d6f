-- How much runs hold, and what of them is still open.
select r.id as run_id, w.slug as workflow, r.erased_at,
    (select count(*) from app.observations o where o.tenant_id = r.tenant_id and o.run_id = r.id) as observations,
    (select count(*) from app.actions a where a.tenant_id = r.tenant_id and a.run_id = r.id) as actions,
    (select coalesce(array_agg('The action ' || a.id || ' is ' || a.status || '.' order by a.id), '{}') from app.actions a
        where a.tenant_id = r.tenant_id and a.run_id = r.id
            and a.status in ('awaiting_approval', 'authorized', 'executing', 'unknown', 'dead_letter')) as keeps
from app.runs r
join app.workflows w on w.tenant_id = r.tenant_id and w.id = r.workflow_id
where r.id = any (%(ids)s)
order by r.created_at, r.id
