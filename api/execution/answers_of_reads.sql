-- What these reads were answered, as it is kept; null of an answer that is too large to be compared for a page.
select o.id, case when octet_length(o.result::text) <= %(bytes)s then o.result end as result, o.labels, o.erased_classes,
    coalesce(octet_length(o.result::text) > %(bytes)s, false) as too_large
from app.observations o
where o.run_id = %(run_id)s and o.id = any(%(ids)s)
