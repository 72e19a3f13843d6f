-- What a list of actions can be narrowed to is in the index of their order: a hundred thousand of another effect or workflow are passed
-- over without a look at each.
drop index app.actions_by_time;
create index actions_by_time on app.actions (tenant_id, created_at desc, id desc)
    include (environment, status, required_approvals, effect, workflow_id);
