-- Webhook triggers, newest first, after the given key; or one of them. Their secrets are not among the columns that may be read.
select t.id, t.environment, w.slug as workflow, t.provider, t.status, t.generation as secret_generation, t.previous_until,
    t.created_by, t.created_at, t.updated_at
from app.webhook_triggers t join app.workflows w on w.tenant_id = t.tenant_id and w.id = t.workflow_id
where (%(id)s::uuid is null or t.id = %(id)s)
    and (%(after_at)s::timestamptz is null or (t.created_at, t.id) < (%(after_at)s, %(after_id)s))
order by t.created_at desc, t.id desc
limit %(limit)s
