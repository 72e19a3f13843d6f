-- The stage of a workflow's live version; null where none is live.
select v.spec ->> 'stage' as stage
from app.workflows w
left join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
where w.slug = %(slug)s
