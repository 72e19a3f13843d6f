-- How many alerts are not resolved, by state.
select count(*) filter (where status = 'open') as open, count(*) filter (where status = 'acknowledged') as acknowledged
from app.alerts
where tenant_id = (select private.current_tenant()) and status in ('open', 'acknowledged')
