-- The queue in other orders than by age: what ends first, what weighs most, what is worth most. Each has an index of what is open, and
-- each is told apart by the id, so that a page begins where the last one ended.

-- What an exception is worth, in minor units, from its class; null where it is of no amount, or of several currencies. What is worth more than a
-- number holds is worth that number, so that it is recorded, and comes first.
create function private.worth_of(p_class jsonb) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when jsonb_typeof(p_class -> 'worth') = 'object' then
        (select least(min(value::numeric), 9223372036854775807)::bigint from jsonb_each_text(p_class -> 'worth') having count(*) = 1) end
$$;

create function private.currency_of_worth(p_class jsonb) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when jsonb_typeof(p_class -> 'worth') = 'object' then
        (select min(key) from jsonb_each_text(p_class -> 'worth') having count(*) = 1) end
$$;

create function private.weight_of_severity(p_severity text) returns integer
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select array_position(array['low', 'medium', 'high', 'critical'], p_severity)
$$;

create index exceptions_open_by_end on app.exceptions (tenant_id, expires_at, id) where status = 'open';
create index exceptions_open_by_severity on app.exceptions (tenant_id, private.weight_of_severity(severity) desc, id desc) where status = 'open';
create index exceptions_open_by_worth on app.exceptions (tenant_id, coalesce(private.worth_of(class), -1) desc, id desc) where status = 'open';
-- With what the number beside the menu is counted by, which is asked for every 20 seconds.
create index exceptions_open_by_person on app.exceptions (tenant_id, assigned_to, created_at desc, id desc) include (environment)
    where status = 'open';

-- How often a class came, and what became of it, without a look at each exception.
drop index app.exceptions_by_class;
create index exceptions_by_class on app.exceptions (tenant_id, class_key, created_at desc) include (status, environment, id)
    where class_key is not null;

revoke all on all functions in schema app, private from public;
grant execute on function private.worth_of, private.currency_of_worth, private.weight_of_severity to authenticated;
