-- The tenant's workflows.
select id, slug, environment, title, live_version, created_at from app.workflows order by created_at desc, id desc limit 200
