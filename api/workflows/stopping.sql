-- The engaged kill switches that stop all of a workflow, newest first.
select k.id, k.scope, k.stage
from app.kill_switches k
where k.status = 'engaged' and (k.scope = 'tenant' or k.scope = 'workflow' and k.target = %(workflow_id)s::text)
order by k.engaged_at desc
