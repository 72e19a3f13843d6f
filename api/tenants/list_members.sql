-- The tenant's people.
select user_id, role, email, name from app.members order by created_at, user_id limit 500
