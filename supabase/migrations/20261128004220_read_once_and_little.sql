-- What pages count is in the indexes that they find it by, and what is hashed is not carried along afterwards.

-- How often a class came, and what became of it, without a look at each exception.
drop index app.exceptions_by_class;
create index exceptions_by_class on app.exceptions (tenant_id, class_key, created_at desc) include (status, environment, id)
    where class_key is not null;
-- The number beside the menu, which is asked for every 20 seconds.
drop index app.exceptions_open_by_person;
create index exceptions_open_by_person on app.exceptions (tenant_id, assigned_to, created_at desc, id desc) include (environment)
    where status = 'open';

-- As it was: the last thousand events are hashed one by one, and only what came of it goes on, not what they say.
create or replace function private.readiness_3(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with head as (select seq, hash from app.audit_heads where tenant_id = p_workflow.tenant_id), events as (
        select e.seq, e.hash, e.own and e.prev_hash = coalesce(lag(e.hash) over w, e.root, e.prev_hash)
            and e.seq = h.seq - count(*) over () + row_number() over w as holds
        from head h cross join lateral (
            select a.seq, a.prev_hash, a.hash, a.hash = sha256(a.prev_hash || convert_to(a.record, 'UTF8')) as own,
                case when a.seq = 1 then sha256(convert_to(a.tenant_id::text, 'UTF8')) end as root
            from app.audit_events a where a.tenant_id = p_workflow.tenant_id and a.seq > h.seq - 1000
            order by a.seq desc limit 1001) e
        window w as (order by e.seq)
    )
    select case when not coalesce(bool_and(holds), false) or count(*) <> (select least(seq, 1000) from head)
            or max(seq) is distinct from (select seq from head)
            or (select hash from head) is distinct from (select hash from events order by seq desc limit 1)
            then 'The audit log does not verify to its head. Call GET /v1/audit/verify, and find out who changed it.' end,
        format('The last %s events of the audit log verify to its head, event %s.', count(*), max(seq)) from events
    union all
    select 'Changes are not recorded, because these triggers are gone or switched off: '
            || string_agg(relation || '.' || trigger, ', ') || '. Apply the migrations again.',
        'Every table that holds state records its changes.'
        from private.guards_off() where trigger = 'zz_audit_change' or relation like 'app.audit%'
    union all
    select 'What was written would not stand, because these guards are gone or switched off: '
            || string_agg(relation || '.' || trigger, ', ') || '. Apply the migrations again.',
        'The guards of every table are in place and fire for every session.'
        from private.guards_off() where trigger <> 'zz_audit_change' and relation not like 'app.audit%'
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

create or replace function private.readiness(p_tenant uuid, p_workflow uuid, p_version integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select private.readiness(p_tenant, p_workflow, p_version, null)
$$;

-- As it was; the end of the log is read once, and not for every workflow.
create or replace function app.controls_v1(p_args jsonb) returns jsonb
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
        'chain', (select jsonb_build_object('seq', seq, 'hash', encode(hash, 'hex')) from app.audit_heads where tenant_id = v_principal.tenant_id),
        'workflows', v_workflows, 'more', greatest(v_live - 100, 0), 'events', coalesce(v_events, '{}'));
end
$$;

-- As it was; of each event only whether it holds goes on, not what it says.
create or replace function app.verify_audit_part_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('audit.read');
    v_after bigint := greatest((p_args ->> 'after')::bigint, 0);
    v_limit bigint := least(greatest((p_args ->> 'limit')::bigint, 1), 100000);
    v_head app.audit_heads;
    v_base bytea;
    v_end bytea;
    v_last bigint;
    v_count bigint;
    v_broken bigint;
begin
    select * into v_head from app.audit_heads where tenant_id = v_principal.tenant_id;
    v_base := case when v_after = 0 then sha256(convert_to(v_principal.tenant_id::text, 'UTF8'))
        else (select hash from app.audit_events where tenant_id = v_principal.tenant_id and seq = v_after) end;
    v_last := least(v_after + v_limit, coalesce(v_head.seq, 0));
    select count(*), min(e.seq) filter (where e.prev_hash is distinct from e.expected_prev or e.seq <> v_after + e.row_number or not e.own)
    into v_count, v_broken
    from (
        select o.*, row_number() over w as row_number, coalesce(lag(o.hash) over w, v_base) as expected_prev
        from (select seq, prev_hash, hash,
                hash = sha256(prev_hash || convert_to(record, 'UTF8')) and (record::jsonb ->> 'seq')::bigint is not distinct from seq as own
            from app.audit_events where tenant_id = v_principal.tenant_id and seq > v_after and seq <= v_last) o
        window w as (order by o.seq)
    ) e;
    -- A tenant begins with events, so none at all means that they were removed; what is behind the head came past it.
    if v_broken is null and (coalesce(v_head.seq, 0) = 0 or (v_after > 0 and v_base is null and v_after <= v_head.seq)
        or v_count <> greatest(v_last - v_after, 0)) then
        v_broken := v_after + v_count + 1;
    end if;
    if v_broken is null and v_last = v_head.seq then
        select hash into v_end from app.audit_events where tenant_id = v_principal.tenant_id and seq = v_head.seq;
        if v_end is distinct from v_head.hash then
            v_broken := v_head.seq;
        elsif exists (select from app.audit_events where tenant_id = v_principal.tenant_id and seq > v_head.seq) then
            v_broken := v_head.seq + 1;
        end if;
    end if;
    if v_broken is null then
        select min(c.seq) into v_broken from app.audit_checkpoints c
            where c.tenant_id = v_principal.tenant_id and c.seq > v_after and c.seq <= v_last
            and not exists (select from app.audit_events e where e.tenant_id = c.tenant_id and e.seq = c.seq and e.hash = c.hash);
    end if;
    return jsonb_build_object('ok', v_broken is null, 'after', v_after, 'last', greatest(v_last, v_after), 'head_seq', coalesce(v_head.seq, 0),
        'head', encode(v_head.hash, 'hex'), 'done', v_last >= coalesce(v_head.seq, 0), 'broken_at', v_broken);
end
$$;

revoke all on all functions in schema app, private from public;
