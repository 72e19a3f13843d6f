-- Signed heads of the log, newest first, before the given number.
select seq, encode(hash, 'hex') as hash, signature, key_id, created_at
from app.audit_checkpoints
where tenant_id = (select private.current_tenant()) and (%(before)s::bigint is null or seq < %(before)s)
order by seq desc
limit %(limit)s
