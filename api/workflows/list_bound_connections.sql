-- The connections of these ids, as far as the caller may see them.
select id, environment, status, account from app.connections where id = any(%(ids)s)
