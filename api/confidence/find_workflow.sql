-- The workflow of a slug or an id with its live access spec, as far as the caller may see it; without a live version, null.
select w.id, w.slug, v.spec
from app.workflows w
left join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
where w.slug = %(slug)s or w.id = %(id)s
