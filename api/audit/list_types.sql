-- The types of events that the log has, by hopping from one to the next in the index and not by reading the log.
with recursive types as (
    (select type from app.audit_events where tenant_id = (select private.current_tenant()) order by type limit 1)
    union all
    select (select e.type from app.audit_events e where e.tenant_id = (select private.current_tenant()) and e.type > t.type order by e.type limit 1)
    from types t where t.type is not null
)
select type from types where type is not null
