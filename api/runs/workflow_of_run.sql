-- The workflow of a run, its keys (`keys` null: it has none yet), and the stored answer to a request under an idempotency key (null when
-- it is new, or has none).
select w.slug as workflow, case when %(key)s::text is not null then private.find_answer(%(key)s, %(request)s) end as answer,
    jsonb_build_object('tenant_id', r.tenant_id, 'run_id', r.id, 'keys', k.keys) as kept
from app.runs r
join app.workflows w on w.tenant_id = r.tenant_id and w.id = r.workflow_id
left join app.run_keys k on k.tenant_id = r.tenant_id and k.run_id = r.id
where r.id = %(run_id)s
