-- How many actions were proposed on each day (UTC), by whether people were asked and by what became of them. An index answers it.
select (a.created_at at time zone 'UTC')::date as day, a.status, a.required_approvals > 0 as asked, count(*) as actions
from app.actions a
where a.created_at >= %(since)s and (%(environment)s::text is null or a.environment = %(environment)s)
group by 1, 2, 3
