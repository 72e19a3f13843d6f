-- Everything that undoing a run would be made of: its writes as undo_run_v1 would take them, the last one first, each as
-- describe_undo_v1 tells it.
select w.slug as workflow, (select count(*) from app.actions a where a.tenant_id = r.tenant_id and a.run_id = r.id and a.compensates is null
        and a.status in ('succeeded', 'unknown', 'executing', 'authorized', 'awaiting_approval')) as writes,
    (select p.id from app.undo_plans p where p.tenant_id = r.tenant_id and p.run_id = r.id and p.status = 'running') as under_way,
    coalesce((select jsonb_agg(app.describe_undo_v1(jsonb_build_object('id', t.id)) order by t.place) from (
        select a.id, row_number() over (order by e.at desc, a.created_at desc, a.id desc) as place
        from app.actions a cross join lateral (select coalesce(max(coalesce(t.finished_at, t.started_at)), a.updated_at) as at
            from app.attempts t where t.tenant_id = a.tenant_id and t.action_id = a.id) e
        where a.tenant_id = r.tenant_id and a.run_id = r.id and a.compensates is null
            and a.status in ('succeeded', 'unknown', 'executing', 'authorized', 'awaiting_approval')
        order by place limit %(limit)s) t), '[]') as done
from app.runs r
join app.workflows w on w.tenant_id = r.tenant_id and w.id = r.workflow_id
where r.id = %(run_id)s
