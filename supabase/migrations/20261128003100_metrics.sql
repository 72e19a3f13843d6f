-- What the overview counts, answered by indexes: a tenant with a hundred thousand actions has its numbers in some milliseconds.

-- With what a day's actions are counted by, and what a list of them can be narrowed to: a hundred thousand of another effect or workflow
-- are passed over without a look at each.
drop index app.actions_by_time;
create index actions_by_time on app.actions (tenant_id, created_at desc, id desc)
    include (environment, status, required_approvals, effect, workflow_id);

-- What nobody knows the end of, and what was given up.
create index actions_without_end on app.actions (tenant_id, status) include (environment) where status in ('unknown', 'dead_letter');

-- Money that has moved, by when it did.
create index actions_that_moved_money on app.actions (tenant_id, updated_at) include (environment, id)
    where status = 'succeeded' and effect = 'money_movement';

-- How the last run of each loop ended.
create index runs_of_loops_over on app.runs (tenant_id, workflow_id, finished_at desc) include (status)
    where driven_by = 'loop' and finished_at is not null;

-- Everything that one limit counts, whatever it counts apart: the keys begin alike. With what is summed up by key before anything is looked
-- at more closely.
create index limit_reservations_by_name on app.limit_reservations (tenant_id, key text_pattern_ops, created_at)
    include (environment, amount, count);
