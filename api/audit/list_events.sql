-- Audit events, newest first, before the given sequence number. A time is first turned into a number by its index, so that a search
-- in the past of a long log does not read what came since.
select seq, type, at, record, encode(prev_hash, 'hex') as prev_hash, encode(hash, 'hex') as hash, record::jsonb as event
from app.audit_events
where tenant_id = (select private.current_tenant())
    and (%(type)s::text is null or type = %(type)s)
    and (%(action_id)s::text is null or action_id = %(action_id)s)
    and (%(run_id)s::text is null or run_id = %(run_id)s)
    and (%(subject_id)s::text is null or subject_id = %(subject_id)s)
    and (%(principal_id)s::text is null or principal_id = %(principal_id)s)
    and (%(since)s::text is null or seq >= (select e.seq from app.audit_events e
        where e.tenant_id = (select private.current_tenant()) and e.at >= %(since)s order by e.at limit 1))
    and (%(until)s::text is null or seq <= (select e.seq from app.audit_events e
        where e.tenant_id = (select private.current_tenant()) and e.at < %(until)s order by e.at desc limit 1))
    and (%(before)s::bigint is null or seq < %(before)s)
order by seq desc
limit %(limit)s
