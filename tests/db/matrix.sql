-- What the isolation matrices run inside the database, so that thousands of attempts take seconds.
-- Everything tried here is undone: each attempt ends by an error of its own, which rolls it back.

create schema attack;
grant usage on schema attack to public;

-- Tries each statement as whoever calls. Answers [[SQLSTATE, what it said], ...]; 00000 and the number of rows
-- when it was let through.
create function attack.try_each(p_statements text[]) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_states text[] := '{}';
    v_said text[] := '{}';
    v_statement text;
    v_rows bigint;
begin
    foreach v_statement in array p_statements loop
        begin
            execute v_statement;
            get diagnostics v_rows = row_count;
            raise exception using errcode = 'ZZ000', message = v_rows;
        exception when others then
            v_states := array_append(v_states, case sqlstate when 'ZZ000' then '00000' else sqlstate end);
            v_said := array_append(v_said, sqlerrm);
        end;
    end loop;
    return (
        select coalesce(jsonb_agg(jsonb_build_array(state, said) order by i), '[]')
        from unnest(v_states, v_said) with ordinality o (state, said, i));
end
$$;

-- Reads with each query, which selects one text, as whoever calls. Answers as `try_each`, with the text read.
create function attack.read_each(p_queries text[]) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_states text[] := '{}';
    v_said text[] := '{}';
    v_query text;
    v_read text;
begin
    foreach v_query in array p_queries loop
        begin
            execute v_query into v_read;
            raise exception using errcode = 'ZZ000', message = coalesce(v_read, '');
        exception when others then
            v_states := array_append(v_states, case sqlstate when 'ZZ000' then '00000' else sqlstate end);
            v_said := array_append(v_said, sqlerrm);
        end;
    end loop;
    return (
        select coalesce(jsonb_agg(jsonb_build_array(state, said) order by i), '[]')
        from unnest(v_states, v_said) with ordinality o (state, said, i));
end
$$;

-- What a predicate that is cheaper than any policy would tell of rows that a policy hides.
create function attack.peek(p_text text) returns boolean
language plpgsql cost 0.0000001 set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('attack.peeked', current_setting('attack.peeked', true) || ' ' || p_text, true);
    return true;
end
$$;

-- The tables in which Postgres has counted a write since this session last told its counts, rolled back or not, and
-- those that the transaction has put into a new file, as truncating does.
create function attack.touched() returns oid[]
language sql set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(c.oid), '{}') from pg_class c
    where c.relkind in ('r', 'p') and (
        pg_stat_get_xact_tuples_inserted(c.oid) > 0 or pg_stat_get_xact_tuples_updated(c.oid) > 0
        or pg_stat_get_xact_tuples_deleted(c.oid) > 0 or c.xmin::text::bigint >= pg_current_xact_id()::xid::text::bigint)
$$;

-- Calls a function through the application's door, as its login, and looks at what that changed, deferred triggers
-- included. To be called by a superuser, in a transaction of its own: one that has no id has written nothing.
-- Answers {state, said, digests}; digests only of tables in which something may have changed (`attack.digests`).
create function attack.call(p_claims text, p_function text, p_args jsonb) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_answer jsonb;
    v_digests jsonb;
    v_detail text;
begin
    begin
        perform set_config('role', 'countersign_api', true);
        execute 'select app.call_v1($1, $2, $3)' into v_answer using p_claims, p_function, p_args;
        perform set_config('role', 'none', true);
        execute 'set constraints all immediate';
        if pg_current_xact_id_if_assigned() is not null then
            v_digests := attack.digests(attack.touched());
            perform pg_stat_force_next_flush();  -- what this call has touched was not touched by the next
        end if;
        raise exception using errcode = 'ZZ000';
    exception when others then
        get stacked diagnostics v_detail = pg_exception_detail;
        if sqlstate = 'ZZ000' then
            return jsonb_build_object('state', '00000', 'said', v_answer -> 'result', 'digests', v_digests);
        end if;
        return jsonb_build_object('state', sqlstate, 'said', concat_ws(' ', sqlerrm, v_detail));
    end;
end
$$;
