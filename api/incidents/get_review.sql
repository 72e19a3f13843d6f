-- The review of an incident, if it has one.
select r.id, r.what_happened, r.root_cause, r.impact, r.went_well, r.went_badly, r.digest, r.reviewed_by, r.created_at,
    coalesce(nullif(m.name, ''), m.email) as reviewed_by_name
from app.incident_reviews r
left join app.members m on m.tenant_id = r.tenant_id and 'user:' || m.user_id = r.reviewed_by
where r.tenant_id = (select private.current_tenant()) and r.incident_id = %(incident_id)s
