-- The tenant's own tools of these names: the newest version of each.
select distinct on (name) contract || jsonb_build_object('version', version) as contract
from app.tenant_tools
where tenant_id = private.current_tenant() and name = any(%(names)s)
order by name, version desc
