-- The contract that a permit was given under.
select contract || jsonb_build_object('version', version) as contract from app.tenant_tools where name = %(tool)s and version = %(version)s
