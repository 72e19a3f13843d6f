-- How many attempts an action had had when it was last requeued.
select coalesce(max(attempts), 0) as attempts from app.requeues where action_id = %(id)s
