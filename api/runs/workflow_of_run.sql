-- The workflow of a run, and the stored answer to a request under an idempotency key (null when it is new, or has none).
select w.slug, case when %(key)s::text is not null then private.find_answer(%(key)s, %(request)s) end as answer
from app.runs r
join app.workflows w on w.tenant_id = r.tenant_id and w.id = r.workflow_id
where r.id = %(run_id)s
