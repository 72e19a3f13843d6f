-- The nine controls over the whole organisation: of every live workflow, with what the log holds as evidence and where its chain stands.

-- Of each live workflow what readiness_v1 answers; how often the log of the last 30 days has what shows that a control is at work, counted up
-- to 1,000; and the head of the chain. At most 100 workflows, the rest is counted. args: {types: [...]}
-- Answers {tenant, checked_at, since, hard_gates, chain: {seq, hash}, workflows: [...], more, events: {type: count}}.
create function app.controls_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.read');
    v_since constant text := to_char((now() - interval '30 days') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    v_hard_gates jsonb := private.hard_gates();
    v_from bigint;
    v_workflows jsonb;
    v_live bigint;
    v_events jsonb;
begin
    select seq into v_from from app.audit_events where tenant_id = v_principal.tenant_id and at >= v_since order by at limit 1;
    select count(*) into v_live from app.workflows w where w.tenant_id = v_principal.tenant_id and w.live_version is not null
        and w.environment = coalesce(private.current_environment(), w.environment);
    select coalesce(jsonb_agg(jsonb_build_object('slug', w.slug, 'title', w.title, 'version', w.live_version, 'status', 'live',
        'environment', w.environment, 'checked_at', clock_timestamp(), 'hard_gates', v_hard_gates,
        'controls', private.readiness(w.tenant_id, w.id, w.live_version)) order by w.environment, w.title, w.slug), '[]')
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

revoke all on all functions in schema app, private from public;
grant execute on function app.controls_v1 to authenticated;
