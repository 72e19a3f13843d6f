-- Audit events, newest first, before the given sequence number.
select seq, type, at, record, encode(prev_hash, 'hex') as prev_hash, encode(hash, 'hex') as hash, record::jsonb as event
from app.audit_events
where tenant_id = (select private.current_tenant())
    and (%(type)s::text is null or type = %(type)s)
    and (%(action_id)s::text is null or action_id = %(action_id)s)
    and (%(run_id)s::text is null or run_id = %(run_id)s)
    and (%(subject_id)s::text is null or subject_id = %(subject_id)s)
    and (%(before)s::bigint is null or seq < %(before)s)
order by seq desc
limit %(limit)s
