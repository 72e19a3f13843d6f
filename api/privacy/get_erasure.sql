-- One request for erasure with its runs, and those that could not be read.
select e.id, e.subject, e.reason, e.searched_to, e.created_at, e.unread, e.unread_count,
    array(select f.run_id from app.erasure_runs f where f.tenant_id = e.tenant_id and f.erasure_id = e.id order by f.run_id) as run_ids
from app.erasures e
where e.id = %(id)s
