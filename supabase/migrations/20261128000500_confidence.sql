-- Confidence: what agents claimed against what people decided, and the thresholds that follow from it. They tighten by
-- themselves, in steps and with their evidence; only a person loosens them, and says why.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('confidence.manage', '{owner,admin}', false, false, true, 'set what confidence an action needs, also lower than before'),
    ('confidence.tighten', '{}', false, true, false, 'ask for more confidence where agents prove too sure of themselves');
alter table private.permissions add constraint confidence_is_loosened_by_people
    check (permission <> 'confidence.manage' or (aal2 and not service and not system));

-- What an action of a tool needs beside what the access spec says; the gate asks for the larger of both. The newest version
-- of a workflow and tool is in force. Null: only what the spec says.
create table app.confidence_thresholds (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    environment text not null check (environment in ('sandbox', 'production')),
    workflow_id uuid not null,
    tool text not null check (length(tool) between 1 and 120),
    version integer not null check (version > 0),
    threshold numeric check (threshold between 0 and 1),
    reason text not null check (length(trim(reason)) between 1 and 2000),
    set_by_kind text not null check (set_by_kind in ('system', 'user')),
    set_by uuid check ((set_by is null) = (set_by_kind = 'system')),
    evidence jsonb not null default '{}' check (jsonb_typeof(evidence) = 'object' and length(evidence::text) <= 4000),
    created_at timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, workflow_id) references app.workflows (tenant_id, id)
);
create unique index confidence_thresholds_by_version on app.confidence_thresholds (tenant_id, workflow_id, tool, version);
create index confidence_thresholds_by_time on app.confidence_thresholds (tenant_id, created_at desc, id desc);
-- What was decided within a window of time.
create index exceptions_by_decision on app.exceptions (tenant_id, decided_at) where decided_at is not null;

-- What the access spec asks for of a tool: the same as api/gate/checks/confidence.py, with the default of the spec's model.
create function private.confidence_in_spec(p_spec jsonb, p_tool text) returns numeric
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select coalesce(p_spec -> 'tools' -> p_tool ->> 'confidence_min', p_spec ->> 'confidence_min', '0.8')::numeric
$$;

-- The version that was set last, whether or not it names a threshold.
create function private.last_confidence_threshold(p_tenant uuid, p_workflow uuid, p_tool text) returns app.confidence_thresholds
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select t from app.confidence_thresholds t
    where t.tenant_id = p_tenant and t.workflow_id = p_workflow and t.tool = p_tool order by t.version desc limit 1
$$;

-- The live access spec of a workflow that grants the tool; refuses others, of which nothing can be asked.
create function private.spec_granting(p_tenant uuid, p_workflow uuid, p_tool text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_spec jsonb;
begin
    select v.spec into v_spec from app.workflows w
        join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
        where w.tenant_id = p_tenant and w.id = p_workflow;
    if not coalesce(v_spec -> 'tools' ? p_tool, false) then
        perform private.fail(422, 'unknown_tool', 'The live version of the workflow does not use this tool.');
    end if;
    return v_spec;
end
$$;

-- Whoever writes the row: a scheduled function only asks for more than is asked for, in steps of 0.1, once a day, and for
-- 0.99 at most; a person who may sets anything. Who set it, when, and which version it is, is the database's to say.
create function private.guard_confidence_threshold() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_last app.confidence_thresholds;
    v_in_force numeric;
begin
    perform private.lock_tenant(new.tenant_id, true);
    v_principal := private.require(case when private.claims() ->> 'kind' = 'system' then 'confidence.tighten' else 'confidence.manage' end);
    if v_principal.tenant_id <> new.tenant_id then
        perform private.fail(403, 'other_tenant', 'A threshold is set within one''s own tenant.');
    end if;
    v_last := private.last_confidence_threshold(new.tenant_id, new.workflow_id, new.tool);
    v_in_force := greatest(v_last.threshold,
        private.confidence_in_spec(private.spec_granting(new.tenant_id, new.workflow_id, new.tool), new.tool));
    new.created_at := clock_timestamp();
    if v_principal.kind = 'user' then
        new.set_by_kind := 'user';
        new.set_by := v_principal.id;
    elsif v_principal.kind <> 'system' or coalesce(new.threshold <= v_in_force, true) then
        perform private.fail(403, 'people_only', 'Only a person lowers a threshold.');
    elsif new.threshold > 0.99 or new.threshold > v_in_force + 0.1 then
        perform private.fail(409, 'too_steep', 'A threshold tightens by 0.1 at a time, and to 0.99 at most.');
    elsif private.tightened_today(new.tenant_id, new.workflow_id, new.tool) then
        perform private.fail(409, 'tightened_today', 'A threshold tightens once a day.');
    else
        new.set_by_kind := 'system';
        new.set_by := null;
    end if;
    select environment into new.environment from app.workflows where tenant_id = new.tenant_id and id = new.workflow_id;
    new.version := coalesce(v_last.version, 0) + 1;
    return new;
end
$$;

-- Whether the scheduled function has asked for more today (UTC).
create function private.tightened_today(p_tenant uuid, p_workflow uuid, p_tool text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.confidence_thresholds
        where tenant_id = p_tenant and workflow_id = p_workflow and tool = p_tool and set_by_kind = 'system'
            and (created_at at time zone 'UTC')::date = (clock_timestamp() at time zone 'UTC')::date)
$$;

create trigger confidence_thresholds_guard before insert on app.confidence_thresholds
    for each row execute function private.guard_confidence_threshold();
create trigger confidence_thresholds_raise_epoch after insert on app.confidence_thresholds
    for each row execute function private.raise_epoch();
select private.audit_table('app.confidence_thresholds', 'confidence_threshold', 'set',
    'workflow_id tool version threshold set_by_kind set_by', 'reason evidence');
select private.append_only('app.confidence_thresholds');

alter table app.confidence_thresholds enable row level security;
alter table app.confidence_thresholds force row level security;
create policy "members read their tenant's thresholds of their environment" on app.confidence_thresholds for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.confidence_thresholds to authenticated;

-- The confidence that is asked for by tool, beside what the access spec says.
create or replace function private.thresholds_of(p_tenant uuid, p_workflow uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_object_agg(tool, threshold) filter (where threshold is not null), '{}') from (
        select distinct on (tool) tool, threshold from app.confidence_thresholds
        where tenant_id = p_tenant and workflow_id = p_workflow order by tool, version desc) last
$$;

-- Whether a person found that the agent was right, which only an approval says; of an exception's status and who decided it, and
-- of its action's editor and why it has its status. Null: nobody judged the agent. It expired, was cancelled, or a person wrote it.
create function private.agent_was_right(p_status text, p_decided_by uuid, p_edited_by uuid, p_status_reason text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case
        when p_decided_by is null or p_edited_by is not null then null
        when p_status = 'approved' then true
        when p_status in ('rejected', 'edited') then false
        when p_status = 'answered' and p_status_reason = 'answered by hand' then false end
$$;

create function private.confidence_document(p_row app.confidence_thresholds) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_row.id, 'workflow', (select slug from app.workflows
            where tenant_id = p_row.tenant_id and id = p_row.workflow_id),
        'tool', p_row.tool, 'version', p_row.version, 'threshold', p_row.threshold, 'reason', p_row.reason,
        'set_by', jsonb_build_object('kind', p_row.set_by_kind, 'id', p_row.set_by), 'evidence', p_row.evidence, 'created_at', p_row.created_at)
$$;

-- A person sets a threshold, or with null goes back to what the spec says. args: {workflow, tool, threshold, reason, expected_version?}
create function app.set_confidence_threshold_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('confidence.manage');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'workflow');
    v_version integer := (private.last_confidence_threshold(v_workflow.tenant_id, v_workflow.id, p_args ->> 'tool')).version;
    v_row app.confidence_thresholds;
begin
    if (p_args ->> 'expected_version')::integer <> coalesce(v_version, 0) then
        perform private.fail(412, 'version_moved', format('The threshold in force is version %s; look at it again.', coalesce(v_version, 0)));
    end if;
    insert into app.confidence_thresholds (tenant_id, workflow_id, tool, threshold, reason)
    values (v_workflow.tenant_id, v_workflow.id, p_args ->> 'tool', (p_args ->> 'threshold')::numeric, p_args ->> 'reason')
    returning * into v_row;
    perform private.resolve_alert(v_row.tenant_id, null, 'workflow_tool', v_row.workflow_id || '/' || v_row.tool, 'A person set the threshold.');
    return private.confidence_document(v_row);
end
$$;

-- Asks for more confidence, by 0.1 and to 0.99 at most, unless that was done today or what it rests on has moved. Tells the
-- workflow's owner. args: {workflow_id, tool, threshold, reason, evidence, seen_version}
create function app.tighten_confidence_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('confidence.tighten');
    v_tenant constant uuid := v_principal.tenant_id;
    v_tool constant text := p_args ->> 'tool';
    v_workflow app.workflows;
    v_spec jsonb;
    v_last app.confidence_thresholds;
    v_before numeric;
    v_row app.confidence_thresholds;
begin
    select * into v_workflow from app.workflows where tenant_id = v_tenant and id = (p_args ->> 'workflow_id')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such workflow.');
    end if;
    v_spec := private.spec_granting(v_tenant, v_workflow.id, v_tool);
    v_last := private.last_confidence_threshold(v_tenant, v_workflow.id, v_tool);
    v_before := greatest(v_last.threshold, private.confidence_in_spec(v_spec, v_tool));
    if (p_args ->> 'seen_version')::integer is distinct from coalesce(v_last.version, 0)
        or private.tightened_today(v_tenant, v_workflow.id, v_tool) then
        return jsonb_build_object('recorded', false);
    elsif least((p_args ->> 'threshold')::numeric, 0.99) > v_before then
        insert into app.confidence_thresholds (tenant_id, workflow_id, tool, threshold, reason, evidence)
        values (v_tenant, v_workflow.id, v_tool, least((p_args ->> 'threshold')::numeric, v_before + 0.1, 0.99),
            p_args ->> 'reason', p_args -> 'evidence')
        returning * into v_row;
    end if;
    -- What cannot be asked for is told all the same: no threshold helps against an agent that is sure of everything.
    perform private.raise_alert(v_tenant, v_workflow.environment, case when v_row.id is null then 'confidence.exhausted' else 'confidence.tightened' end,
        case when v_row.id is null then 'critical' else 'warning' end, 'workflow_tool', v_workflow.id || '/' || v_tool,
        case when v_row.id is null then format('%s in %s: the agent is sure and wrong, and a higher threshold cannot help', v_tool, v_workflow.slug)
            else format('%s in %s: a confidence of %s is asked for now, not of %s', v_tool, v_workflow.slug, v_row.threshold, v_before) end,
        jsonb_build_object('workflow', v_workflow.slug, 'tool', v_tool, 'before', v_before, 'after', v_row.threshold, 'evidence', p_args -> 'evidence'),
        (select user_id from app.members where tenant_id = v_tenant and lower(email) = lower(v_spec ->> 'owner') order by user_id limit 1),
        left(v_spec ->> 'escalation_contact', 320));
    return jsonb_build_object('recorded', v_row.id is not null) || case when v_row.id is null then '{}' else private.confidence_document(v_row) end;
end
$$;

-- Workflows and tools of any tenant, of which people judged at least 20 claims within 90 days; after a key, in an order
-- that is another one every day, so that nobody is always last.
create function app.claim_calibrations_v1(p_after text, p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(to_jsonb(f) order by f.key), '[]') from (
        select md5(concat_ws('/', (now() at time zone 'UTC')::date, a.tenant_id, a.workflow_id, a.tool)) as key,
            a.tenant_id, a.workflow_id, a.tool
        from app.exceptions e join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
        where e.decided_at > now() - interval '90 days' and a.confidence is not null
            and private.agent_was_right(e.status, e.decided_by, a.edited_by, a.status_reason) is not null
        group by a.tenant_id, a.workflow_id, a.tool
        having count(*) >= 20 and md5(concat_ws('/', (now() at time zone 'UTC')::date, a.tenant_id, a.workflow_id, a.tool)) > p_after
        order by 1 limit p_limit) f
$$;

revoke all on all functions in schema app, private from public;
grant execute on function private.agent_was_right to authenticated;
grant execute on function app.set_confidence_threshold_v1, app.tighten_confidence_v1 to authenticated;
grant execute on function app.claim_calibrations_v1 to countersign_worker;
