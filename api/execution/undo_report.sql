-- The newest undoing of a run, with every write of it: what it was, and what became of it.
select p.id, p.run_id, p.status, p.reason, jsonb_build_object('kind', p.requested_by_kind, 'id', p.requested_by) as requested_by,
    p.created_at, p.finished_at,
    (select coalesce(jsonb_agg(jsonb_build_object('position', s.position, 'status', s.status, 'code', s.code, 'reason', s.reason,
            'action', jsonb_build_object('id', a.id, 'tool', a.tool, 'status', a.status),
            'undo', case when u.id is not null then jsonb_build_object('id', u.id, 'tool', u.tool, 'status', u.status) end) order by s.position), '[]')
        from app.undo_steps s
        join app.actions a on a.tenant_id = s.tenant_id and a.id = s.action_id
        left join lateral (select n.id, n.tool, n.status from app.actions n where n.tenant_id = s.tenant_id and n.compensates = s.action_id
            and s.undo_id is not null and (n.id = s.undo_id or s.status = 'proposed')
            order by n.status = 'superseded', n.created_at desc, n.id desc limit 1) u on true
        where s.tenant_id = p.tenant_id and s.plan_id = p.id) as steps
from app.undo_plans p
where p.run_id = %(run_id)s
order by p.created_at desc, p.id desc
limit 1
