-- Who sees what stays as it is; how it is written changes. `environment = coalesce($1, environment)` is for Postgres a comparison of which it
-- knows nothing, and lets one row in two hundred through: it then sorted ten thousand rows for a page of fifty. Of `$1 is null or
-- environment = $1` it knows that nearly all pass. On the tables that grow with every action.
alter policy "members read their tenant's runs of their environment" on app.runs
    using (tenant_id = (select private.current_tenant())
        and ((select private.current_environment()) is null or environment = (select private.current_environment())));
alter policy "members read their tenant's observations of their environment" on app.observations
    using (tenant_id = (select private.current_tenant())
        and ((select private.current_environment()) is null or environment = (select private.current_environment())));
alter policy "members read their tenant's actions of their environment" on app.actions
    using (tenant_id = (select private.current_tenant())
        and ((select private.current_environment()) is null or environment = (select private.current_environment())));
alter policy "members read their tenant's decisions of their environment" on app.decisions
    using (tenant_id = (select private.current_tenant())
        and ((select private.current_environment()) is null or environment = (select private.current_environment())));
alter policy "members read their tenant's exceptions of their environment" on app.exceptions
    using (tenant_id = (select private.current_tenant())
        and ((select private.current_environment()) is null or environment = (select private.current_environment())));
alter policy "members read their tenant's approvals of their environment" on app.approvals
    using (tenant_id = (select private.current_tenant())
        and ((select private.current_environment()) is null or environment = (select private.current_environment())));
alter policy "members read their tenant's attempts of their environment" on app.attempts
    using (tenant_id = (select private.current_tenant())
        and ((select private.current_environment()) is null or environment = (select private.current_environment())));
alter policy "members read their tenant's reservations of their environment" on app.limit_reservations
    using (tenant_id = (select private.current_tenant())
        and ((select private.current_environment()) is null or environment = (select private.current_environment())));
-- What belongs to no environment, such as an invitation, is in everybody's log.
alter policy "members read their tenant's audit events of their environment" on app.audit_events
    using (tenant_id = (select private.current_tenant())
        and (environment is null or (select private.current_environment()) is null or environment = (select private.current_environment())));
