-- How many seconds ago an action was first attempted.
select extract(epoch from now() - min(started_at))::float8 as age from app.attempts where action_id = %(id)s
