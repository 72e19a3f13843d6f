-- The newest 200 versions of a workflow, the live one and those asked for besides, newest first.
select w.id, w.slug, w.title, w.environment, w.live_version, r.version, r.status, r.author, r.approved_by, r.reason,
    v.spec, v.digest, v.created_at, r.updated_at,
    a.name as author_name, p.name as approver_name
from app.workflows w
join app.workflow_reviews r on r.tenant_id = w.tenant_id and r.workflow_id = w.id
join app.workflow_versions v on v.tenant_id = r.tenant_id and v.workflow_id = r.workflow_id and v.version = r.version
left join app.members a on a.tenant_id = r.tenant_id and a.user_id = r.author
left join app.members p on p.tenant_id = r.tenant_id and p.user_id = r.approved_by
where w.slug = %(slug)s and (r.status = 'live' or r.version = any (%(besides)s::integer[]) or r.version > (
    select max(n.version) from app.workflow_reviews n where n.tenant_id = w.tenant_id and n.workflow_id = w.id) - 200)
order by r.version desc
