-- What a channel was told, newest first, after the given key; of one status if asked for.
select n.id, n.channel_id, n.environment, n.event, n.alert_id, n.severity, n.content ->> 'title' as title, n.status, n.attempts,
    n.next_attempt_at, n.last_error, n.created_at, n.finished_at
from app.notifications n
where n.tenant_id = (select private.current_tenant()) and n.channel_id = %(channel_id)s
    and (%(status)s::text is null or n.status = %(status)s)
    and (%(after_at)s::timestamptz is null or (n.created_at, n.id) < (%(after_at)s, %(after_id)s))
order by n.created_at desc, n.id desc
limit %(limit)s
