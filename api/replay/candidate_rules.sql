-- The rules in force, and those of a draft or of a version if one is asked for. RLS: of the caller's tenant.
select c.version as in_force_version, c.rules as in_force,
    (select d.rules from app.constitution_drafts d where d.id = %(draft_id)s) as draft,
    (select v.rules from app.constitution_versions v where v.version = %(version)s) as version_rules
from app.constitution_versions c order by c.version desc limit 1
