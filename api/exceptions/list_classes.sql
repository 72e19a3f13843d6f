-- Classes of exceptions of the last days, the most frequent first, each as its newest exception tells it.
select (array_agg(e.class order by e.created_at desc))[1] as class,
    jsonb_build_object('days', %(days)s::integer, 'count', count(*), 'open', count(*) filter (where e.status = 'open'),
        'approved', count(*) filter (where e.status = 'approved'), 'rejected', count(*) filter (where e.status = 'rejected'),
        'edited', count(*) filter (where e.status = 'edited'), 'answered', count(*) filter (where e.status = 'answered'),
        'expired', count(*) filter (where e.status = 'expired'), 'first_seen', min(e.created_at), 'last_seen', max(e.created_at)) as recurrence
from app.exceptions e
where e.class_key is not null and e.created_at > now() - make_interval(days => %(days)s::integer)
group by e.class_key
order by count(*) desc, max(e.created_at) desc, e.class_key
limit %(limit)s
