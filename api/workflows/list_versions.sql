-- The versions of a workflow, newest first.
select w.id, w.slug, w.environment, r.version, r.status, r.author, r.approved_by, v.spec
from app.workflows w
join app.workflow_reviews r on r.tenant_id = w.tenant_id and r.workflow_id = w.id
join app.workflow_versions v on v.tenant_id = r.tenant_id and v.workflow_id = r.workflow_id and v.version = r.version
where w.slug = %(slug)s
order by r.version desc limit 200
