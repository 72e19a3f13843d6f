-- The tenant's service accounts.
select id, name, description from app.service_accounts order by created_at desc, id desc limit 500
