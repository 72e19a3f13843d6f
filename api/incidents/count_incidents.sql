-- How many incidents there are by state, and how many follow-ups wait.
select count(*) filter (where status = 'open') as open, count(*) filter (where status = 'acknowledged') as acknowledged,
    count(*) filter (where status = 'contained') as contained, count(*) filter (where status = 'resolved') as resolved,
    count(*) filter (where status <> 'resolved' and owner_id = %(user_id)s::uuid) as mine,
    (select count(*) from app.incident_follow_ups where tenant_id = (select private.current_tenant()) and status = 'open') as follow_ups_open,
    (select count(*) from app.incident_follow_ups where tenant_id = (select private.current_tenant()) and status = 'open'
        and due_on < (now() at time zone 'utc')::date) as follow_ups_overdue
from app.incidents
where tenant_id = (select private.current_tenant()) and status in ('open', 'acknowledged', 'contained', 'resolved')
