-- As it was, with what is summed up by key before anything is looked at more closely, so that this reads the index alone.
drop index app.limit_reservations_by_name;
create index limit_reservations_by_name on app.limit_reservations (tenant_id, key text_pattern_ops, created_at)
    include (environment, amount, count);
