-- The nine controls over the whole organisation: of every live workflow, with what the log holds as evidence and where its chain stands.

-- The fifth: nothing is done on little confidence, what waits for a person ends, and what executes, or drives a loop, has run lately.
create or replace function private.readiness_5(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select case when coalesce((p_version.spec ->> 'confidence_min')::numeric, 0) < 0.5
            then format('confidence_min is %s: what is as likely wrong as right would do. Set it to 0.5 at least.',
                coalesce(p_version.spec ->> 'confidence_min', 'not set')) end,
        format('A confidence of %s is asked for.', p_version.spec ->> 'confidence_min')
    union all
    select 'A confidence of less than 0.5 is enough for: ' || string_agg(name, ', ') || '. Set their confidence_min to 0.5 at least, or leave it out.',
        'No tool does with less than 0.5.'
        from private.granted_tools(p_version) where (granted ->> 'confidence_min')::numeric < 0.5
    union all
    select case when coalesce((p_version.spec ->> 'approval_hours')::integer not between 1 and 720, true)
            then 'approval_hours is not set, or longer than 30 days. Set it.' end,
        format('What waits for a person waits %s hours at most.', p_version.spec ->> 'approval_hours')
    union all
    select case when not private.ran_within('execute_actions', interval '15 minutes')
            then 'execute_actions has not run well within 15 minutes. Start the scheduler, or see why the function fails.' end,
        'execute_actions has run within 15 minutes.'
    union all
    select case when jsonb_typeof(p_version.spec -> 'loop') = 'object' and not private.ran_within('advance_runs', interval '15 minutes')
            then 'advance_runs has not run well within 15 minutes. Start the scheduler, or see why the function fails.' end,
        case when jsonb_typeof(p_version.spec -> 'loop') = 'object' then 'advance_runs has run within 15 minutes.'
            else 'It has no loop that would have to be driven.' end
$$;

-- What one of the nine controls says of a version.
create function private.control_of(p_number integer, p_workflow app.workflows, p_version app.workflow_versions) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_control jsonb;
begin
    execute format('select jsonb_build_object(''control'', %1$s, ''verified'', count(missing) = 0,
        ''evidence'', coalesce(jsonb_agg(evidence) filter (where missing is null), ''[]''),
        ''missing'', coalesce(jsonb_agg(missing) filter (where missing is not null), ''[]''))
        from private.readiness_%1$s($1, $2)', p_number) into v_control using p_workflow, p_version;
    return v_control;
end
$$;

-- All nine of one version. p_third: what the third has said already of this tenant's log; null: it is asked.
create function private.readiness(p_tenant uuid, p_workflow uuid, p_version integer, p_third jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_workflow app.workflows;
    v_version app.workflow_versions;
    v_controls jsonb := '[]';
begin
    select * into v_workflow from app.workflows where tenant_id = p_tenant and id = p_workflow;
    select * into v_version from app.workflow_versions where tenant_id = p_tenant and workflow_id = p_workflow and version = p_version;
    for v_number in 1..9 loop
        v_controls := v_controls || coalesce(case when v_number = 3 then p_third end, private.control_of(v_number, v_workflow, v_version));
    end loop;
    return v_controls;
end
$$;

-- All nine of one version.
create or replace function private.readiness(p_tenant uuid, p_workflow uuid, p_version integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select private.readiness(p_tenant, p_workflow, p_version, null)
$$;

-- Of each live workflow what readiness_v1 answers, with the end of the log read once, and not for every workflow; how often the log of the last
-- 30 days has what shows that a control is at work, counted up to 1,000; and the head of the chain, with what the watch over it found last. At
-- most 100 workflows, the rest is counted. args: {types: [...]}. Answers {tenant, checked_at, since, hard_gates,
-- chain: {seq, hash, verified_at, verified_to, broken_at, found_at}, workflows: [...], more, events: {type: count}}.
create function app.controls_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.read');
    v_since constant text := to_char((now() - interval '30 days') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    v_hard_gates jsonb := private.hard_gates();
    v_from bigint;
    v_workflows jsonb;
    v_live bigint;
    v_third jsonb;
    v_events jsonb;
begin
    select seq into v_from from app.audit_events where tenant_id = v_principal.tenant_id and at >= v_since order by at limit 1;
    select count(*) into v_live from app.workflows w where w.tenant_id = v_principal.tenant_id and w.live_version is not null
        and w.environment = coalesce(private.current_environment(), w.environment);
    -- The third looks at the tenant's log alone: what it says of one workflow it says of all.
    select private.control_of(3, w, v) into v_third from app.workflows w
        join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
        where w.tenant_id = v_principal.tenant_id limit 1;
    select coalesce(jsonb_agg(jsonb_build_object('slug', w.slug, 'title', w.title, 'version', w.live_version, 'status', 'live',
        'environment', w.environment, 'checked_at', clock_timestamp(), 'hard_gates', v_hard_gates,
        'controls', private.readiness(w.tenant_id, w.id, w.live_version, v_third)) order by w.environment, w.title, w.slug), '[]')
    into v_workflows from (select * from app.workflows w where w.tenant_id = v_principal.tenant_id and w.live_version is not null
        and w.environment = coalesce(private.current_environment(), w.environment) order by w.created_at, w.id limit 100) w;
    select jsonb_object_agg(t.type, (select count(*) from (select from app.audit_events e where e.tenant_id = v_principal.tenant_id
        and e.type = t.type and e.seq >= v_from limit 1000) counted))
    into v_events from private.text_items(p_args -> 'types') t (type);
    return jsonb_build_object('tenant', (select jsonb_build_object('id', tenant_id, 'name', name) from app.tenants where tenant_id = v_principal.tenant_id),
        'checked_at', clock_timestamp(), 'since', v_since, 'hard_gates', v_hard_gates,
        'chain', (select jsonb_build_object('seq', seq, 'hash', encode(hash, 'hex')) || private.watch_of(tenant_id)
            from app.audit_heads where tenant_id = v_principal.tenant_id),
        'workflows', v_workflows, 'more', greatest(v_live - 100, 0), 'events', coalesce(v_events, '{}'));
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.controls_v1 to authenticated;
