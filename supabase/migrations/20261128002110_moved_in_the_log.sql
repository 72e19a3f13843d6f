-- What moved before a write is somebody's data: the log, which nothing is ever taken out of, names it and keeps its digest.

-- Writes what happened to a row into the log, as the trigger's arguments say. Of `moved` the log has what was read, where, and the digest of
-- what it was and is, which stays with the action alone and goes when its run is erased.
create or replace function private.audit_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_new jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
    v_old jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    v_bookkeeping constant text[] := '{updated_at, control_epoch, refresh_lease_until, occurrences, last_raised_at}';
    v_word text;
    v_what jsonb;
    v_why jsonb;
begin
    if tg_op = 'INSERT' then
        v_word := tg_argv[1];
    elsif tg_op = 'DELETE' then
        v_word := 'removed';
    elsif v_new - v_bookkeeping = v_old - v_bookkeeping then
        return null;
    elsif v_new ->> 'status' is distinct from v_old ->> 'status' then
        v_word := v_new ->> 'status';
    else
        v_word := 'updated';
    end if;
    if jsonb_typeof(v_new -> 'moved') = 'array' then
        v_new := jsonb_set(v_new, '{moved}', (select coalesce(jsonb_agg(jsonb_build_object('what', m -> 'what', 'tool', m -> 'tool',
            'pointer', m -> 'pointer', 'digest', 'sha256:' || encode(sha256(convert_to(m::text, 'UTF8')), 'hex'))), '[]')
            from jsonb_array_elements(v_new -> 'moved') m));
    end if;
    -- Inline and not in a function of its own, which would cost more than all the rest of this.
    select jsonb_object_agg(key, value) filter (where key = any (string_to_array(tg_argv[2], ' '))),
        jsonb_object_agg(key, value) filter (where key = any (string_to_array(tg_argv[3], ' ')))
    into v_what, v_why from jsonb_each(v_new) where value <> 'null'::jsonb;
    insert into app.audit_events (tenant_id, record) values ((v_new ->> 'tenant_id')::uuid, jsonb_strip_nulls(jsonb_build_object(
        'type', tg_argv[0] || '.' || v_word,
        'subject', jsonb_build_object('type', tg_argv[0], 'id', coalesce(v_new ->> 'id', v_new ->> 'user_id', v_new ->> 'version', v_new ->> 'connection_id', v_new ->> 'tenant_id')),
        'environment', v_new ->> 'environment',
        'run_id', case when tg_argv[0] = 'run' then v_new ->> 'id' else v_new ->> 'run_id' end,
        'action_id', case when tg_argv[0] = 'action' then v_new ->> 'id' else v_new ->> 'action_id' end,
        'before', v_old ->> 'status', 'after', v_new ->> 'status',
        'what', v_what, 'why', v_why))::text);
    return null;
end
$$;

revoke all on all functions in schema app, private from public;
