-- What a model was told and answered, and what a loop thought of it, holds what was read, of every class. So it is kept no longer than
-- the class that its workflow keeps for the shortest time; until now it stayed as long as the run.

-- As it was; and `prompt` and `payload` go with the first class that does, once nothing more is thought or proposed in the run.
create or replace function private.due_run_keys(p_row app.run_keys, out why text, out buckets text[])
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_run app.runs;
    v_spec jsonb;
    v_last timestamptz;
begin
    select * into v_run from app.runs where tenant_id = p_row.tenant_id and id = p_row.run_id;
    why := private.why_run_is_due(v_run);
    if why is not null then
        buckets := array(select key from jsonb_object_keys(p_row.keys) key order by key);
        return;
    end if;
    why := 'time';
    buckets := '{}';
    if private.is_open_run(p_row.tenant_id, p_row.run_id) then
        return;
    end if;
    select v.spec into v_spec from app.workflow_versions v
        where v.tenant_id = v_run.tenant_id and v.workflow_id = v_run.workflow_id and v.version = v_run.workflow_version;
    select greatest(v_run.created_at, max(coalesce(o.finished_at, o.created_at))) into v_last
        from app.observations o where o.tenant_id = v_run.tenant_id and o.run_id = v_run.id;
    buckets := array(select b.bucket from jsonb_each_text(coalesce(v_spec -> 'retention', '{}')) c
        cross join lateral (select 'observation:' || c.key as bucket union all
            select unnest(array['payload', 'prompt']) where v_run.status not in ('queued', 'running')) b
        where v_last <= clock_timestamp() - make_interval(days => c.value::integer) and p_row.keys ? b.bucket
        group by 1 order by 1);
end
$$;

revoke all on all functions in schema app, private from public;
