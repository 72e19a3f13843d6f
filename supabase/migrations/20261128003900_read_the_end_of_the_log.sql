-- The check of the audit log's end reads that end alone: Postgres took what lies behind the head for a third of the log and read all of it.
-- One event more than there may be is enough to see that there are too many.
create or replace function private.readiness_3(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with head as (select seq, hash from app.audit_heads where tenant_id = p_workflow.tenant_id), events as (
        select e.seq, e.hash, e.hash = sha256(e.prev_hash || convert_to(e.record, 'UTF8'))
            and e.prev_hash = coalesce(lag(e.hash) over w, case when e.seq = 1
                then sha256(convert_to(e.tenant_id::text, 'UTF8')) else e.prev_hash end)
            and e.seq = h.seq - count(*) over () + row_number() over w as holds
        from head h cross join lateral (select * from app.audit_events a where a.tenant_id = p_workflow.tenant_id and a.seq > h.seq - 1000
            order by a.seq desc limit 1001) e
        window w as (order by e.seq)
    )
    select case when not coalesce(bool_and(holds), false) or count(*) <> (select least(seq, 1000) from head)
            or max(seq) is distinct from (select seq from head)
            or (select hash from head) is distinct from (select hash from events order by seq desc limit 1)
            then 'The audit log does not verify to its head. Call GET /v1/audit/verify, and find out who changed it.' end,
        format('The last %s events of the audit log verify to its head, event %s.', count(*), max(seq)) from events
    union all
    select 'Changes are not recorded, because these triggers are gone or switched off: '
            || string_agg(relation || '.' || trigger, ', ') || '. Apply the migrations again.',
        'Every table that holds state records its changes.'
        from private.guards_off() where trigger = 'zz_audit_change' or relation like 'app.audit%'
    union all
    select 'What was written would not stand, because these guards are gone or switched off: '
            || string_agg(relation || '.' || trigger, ', ') || '. Apply the migrations again.',
        'The guards of every table are in place and fire for every session.'
        from private.guards_off() where trigger <> 'zz_audit_change' and relation not like 'app.audit%'
$$;

revoke all on all functions in schema app, private from public;
