-- What a review of the queue and of looks changed.

-- As it was; what is worth more than a number holds is worth that number, so that it is recorded, and comes first.
create or replace function private.worth_of(p_class jsonb) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when jsonb_typeof(p_class -> 'worth') = 'object' then
        (select least(min(value::numeric), 9223372036854775807)::bigint from jsonb_each_text(p_class -> 'worth') having count(*) = 1) end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function private.worth_of to authenticated;
