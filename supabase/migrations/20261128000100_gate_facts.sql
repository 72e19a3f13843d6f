-- What a decision rests on beside the facts of its epoch: the run's own words and what was read in it, what the directory
-- says of whoever the proposal names, and what the limits have counted. Each is held in memory as optimistically as the
-- epoch's facts are, and compared when the decision is recorded.

-- Observations are numbered within their run in the order in which they succeeded, so that what a decision saw can be
-- found again: everything up to its number. Observations of before have none and come first.
alter table app.observations add column number integer;
create function private.number_observation() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'UPDATE' and old.status = 'succeeded' then
        new.number := old.number;
    elsif new.status = 'succeeded' then
        -- One after the other: whoever counts while another succeeds waits for it.
        perform from app.runs where tenant_id = new.tenant_id and id = new.run_id for no key update;
        new.number := 1 + (select count(*) from app.observations
            where tenant_id = new.tenant_id and run_id = new.run_id and status = 'succeeded');
    else
        new.number := null;
    end if;
    return new;
end
$$;
-- After observations_transition, which makes the row what it is to be.
create trigger observations_z_number before insert or update on app.observations
    for each row execute function private.number_observation();

-- As it was, and its number.
create or replace function private.observation_document(p_row app.observations) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_row.id, 'run_id', p_row.run_id, 'tool', p_row.tool, 'contract_version', p_row.contract_version,
        'source', p_row.source, 'status', p_row.status, 'args', p_row.args, 'result', p_row.result, 'labels', p_row.labels,
        'digest', p_row.digest, 'error', p_row.error, 'created_at', p_row.created_at,
        'erased_at', p_row.erased_at, 'erased_classes', p_row.erased_classes, 'number', p_row.number)
$$;

-- How many observations of a run have succeeded: the version of what was read in it.
create function private.observed(p_tenant uuid, p_run uuid) returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select count(*)::integer from app.observations where tenant_id = p_tenant and run_id = p_run and status = 'succeeded'
$$;

-- A run as the gate sees it, with what had been read when `p_observed` observations had succeeded (null: by now).
create function private.run_facts(p_run app.runs, p_observed integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_run.id, 'instruction', p_run.instruction, 'subject', p_run.subject,
        'observed', coalesce(p_observed, private.observed(p_run.tenant_id, p_run.id)),
        'observations', (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'tool', o.tool, 'source', o.source,
                'result', o.result, 'labels', coalesce(o.labels, '{}'),
                'erased', o.erased_at is not null or cardinality(o.erased_classes) > 0)
                order by o.number nulls first, o.finished_at, o.id), '[]')
            from app.observations o where o.tenant_id = p_run.tenant_id and o.run_id = p_run.id and o.status = 'succeeded'
                and (p_observed is null or o.number is null or o.number <= p_observed)))
$$;

-- What the directory says of keys, by key; of a key about which it says nothing there is no member. `near` is what looks
-- nearly like a name or domain that was given with its skeleton; Python tells whether it really does.
-- p_keys: [{key, type: bank_account | email | domain | name, value, skeleton?}]
create function private.directory_answers(p_tenant uuid, p_environment text, p_keys jsonb) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with asked as (
        select a.key, a.type, a.value, a.skeleton, greatest((length(a.skeleton) - 3) / 2, 0) as part
        from jsonb_to_recordset(coalesce(p_keys, '[]')) as a (key text, type text, value text, skeleton text)
    ), same as (
        select a.key, jsonb_build_object('id', e.id, 'name', e.name, 'kind', e.kind, 'trusted_from', d.trusted_from) as entry
        from asked a
        join app.directory_details d on d.tenant_id = p_tenant and d.environment = p_environment and d.type = a.type
            and d.key = a.value and d.status = 'active'
        join app.directory_entries e on e.tenant_id = d.tenant_id and e.id = d.entry_id and e.status = 'active'
        union all
        select a.key, jsonb_build_object('id', e.id, 'name', e.name, 'kind', e.kind, 'trusted_from', e.created_at)
        from asked a
        join app.directory_entries e on e.tenant_id = p_tenant and e.environment = p_environment and e.key = a.value
            and e.status = 'active'
        where a.type = 'name'
    ), near as (
        select a.key, jsonb_build_object('name', e.name, 'value', e.key, 'skeleton', e.skeleton) as likeness
        from asked a
        join app.directory_entries e on e.tenant_id = p_tenant and e.environment = p_environment and e.status = 'active'
            and e.key <> a.value and length(e.skeleton) between length(a.skeleton) - 1 and length(a.skeleton) + 1
            and (left(e.skeleton, a.part) = left(a.skeleton, a.part) or right(e.skeleton, a.part) = right(a.skeleton, a.part))
        where a.type = 'name'
        union all
        select a.key, jsonb_build_object('name', e.name, 'value', split_part(d.key, '@', -1), 'skeleton', d.skeleton)
        from asked a
        join app.directory_details d on d.tenant_id = p_tenant and d.environment = p_environment and d.status = 'active'
            and d.type in ('domain', 'email') and split_part(d.key, '@', -1) <> a.value
            and length(d.skeleton) between length(a.skeleton) - 1 and length(a.skeleton) + 1
            and (left(d.skeleton, a.part) = left(a.skeleton, a.part) or right(d.skeleton, a.part) = right(a.skeleton, a.part))
        join app.directory_entries e on e.tenant_id = d.tenant_id and e.id = d.entry_id and e.status = 'active'
        where a.type = 'domain'
    )
    select coalesce(jsonb_object_agg(key, jsonb_build_object('entries', entries, 'near', likenesses)), '{}') from (
        select a.key,
            (select coalesce(jsonb_agg(distinct s.entry), '[]') from same s where s.key = a.key) as entries,
            (select coalesce(jsonb_agg(distinct n.likeness), '[]') from near n where n.key = a.key) as likenesses
        from asked a) answers
    where entries <> '[]' or likenesses <> '[]'
$$;

-- What one action takes of one limit. Never changed: whether it counts is told by the action it belongs to.
-- over: it did not fit when it was proposed, so it counts once a person has approved the action.
create table app.limit_reservations (
    tenant_id uuid not null references app.tenants,
    action_id uuid not null,
    environment text not null,
    key text not null check (length(key) between 1 and 500),
    amount bigint not null check (amount >= 0),
    count integer not null check (count >= 0),
    over boolean not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, action_id, key),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id)
);
create index limit_reservations_by_key on app.limit_reservations (tenant_id, key, created_at);
select private.append_only('app.limit_reservations');
alter table app.limit_reservations enable row level security;
alter table app.limit_reservations force row level security;
create policy "members read their tenant's reservations of their environment" on app.limit_reservations for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.limit_reservations to authenticated;

-- What a limit has counted in its rolling window: everything that is not known to have ended without effect.
create function private.limit_state(p_tenant uuid, p_key text, p_window_seconds integer, p_except uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('amount', coalesce(sum(r.amount), 0), 'count', coalesce(sum(r.count), 0))
    from app.limit_reservations r
    join app.actions a on a.tenant_id = r.tenant_id and a.id = r.action_id
    where r.tenant_id = p_tenant and r.key = p_key and r.action_id is distinct from p_except
        and r.created_at > clock_timestamp() - make_interval(secs => p_window_seconds)
        and a.status not in ('denied', 'rejected', 'expired', 'superseded', 'cancelled', 'failed')
        and not (r.over and a.status = 'awaiting_approval')
$$;

-- The states of limits, by key. p_limits: [{key, window_seconds}]
create function private.limit_states(p_tenant uuid, p_limits jsonb, p_except uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_object_agg(l.key, private.limit_state(p_tenant, l.key, l.window_seconds, p_except)), '{}')
    from jsonb_to_recordset(coalesce(p_limits, '[]')) as l (key text, window_seconds integer)
$$;

-- Whether every limit is as the decision took it to be: what does not fit is known to be over, what fits is not, and what
-- a rule has read is what is counted now. Limits of one key are claimed one after the other, until the commit.
create function private.limits_hold(p_tenant uuid, p_args jsonb, p_except uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_claim record;
    v_state jsonb;
    v_fits boolean;
begin
    for v_claim in
        select * from jsonb_to_recordset(coalesce(p_args -> 'decision' -> 'limits', '[]')) as c (key text, window_seconds integer,
            amount bigint, count integer, max_amount bigint, max_count bigint, over boolean, exact boolean, seen jsonb)
        order by key
    loop
        if p_args -> 'decision' ->> 'outcome' = 'deny' and not v_claim.over and not v_claim.exact then
            continue;  -- it takes nothing, and was not denied for this
        end if;
        perform pg_advisory_xact_lock(hashtextextended(p_tenant::text || v_claim.key, 20261128));
        v_state := private.limit_state(p_tenant, v_claim.key, v_claim.window_seconds, p_except);
        v_fits := coalesce((v_state ->> 'amount')::numeric + v_claim.amount <= v_claim.max_amount, true)
            and coalesce((v_state ->> 'count')::numeric + v_claim.count <= v_claim.max_count, true);
        if v_fits = v_claim.over or (v_claim.exact and v_claim.seen is distinct from v_state) then
            return false;
        end if;
    end loop;
    return true;
end
$$;

-- The tools that a tenant can name.
create function private.tools_of(p_tenant uuid)
returns table (name text, version integer, provider text, access text, effect text, contract jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select name, version, provider, access, effect, contract from private.tools_in_force
$$;

-- The confidence that is asked for by tool, where more is asked for than the access spec says.
create function private.thresholds_of(p_tenant uuid, p_workflow uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select '{}'::jsonb
$$;

-- As it was, with the tenant's own tools, thresholds, and what a connection was granted.
create or replace function private.gate_facts(p_tenant uuid, p_workflow app.workflows) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_facts jsonb;
    v_spec jsonb;
    v_epoch bigint;
begin
    perform private.lock_tenant(p_tenant, false);
    select control_epoch into v_epoch from app.tenants where tenant_id = p_tenant;
    select facts into v_facts from app.gate_facts where tenant_id = p_tenant and workflow_id = p_workflow.id and epoch = v_epoch;
    if found then
        return v_facts;
    end if;
    select spec into v_spec from app.workflow_versions
        where tenant_id = p_tenant and workflow_id = p_workflow.id and version = p_workflow.live_version;
    v_facts := jsonb_build_object(
        'epoch', v_epoch, 'tenant_id', p_tenant,
        'workflow', jsonb_build_object('id', p_workflow.id, 'slug', p_workflow.slug, 'environment', p_workflow.environment,
            'version', p_workflow.live_version, 'spec', v_spec),
        'contracts', (select coalesce(jsonb_object_agg(t.name, t.contract || jsonb_build_object('version', t.version)), '{}')
            from private.tools_of(p_tenant) t where v_spec -> 'tools' ? t.name),
        'known_tools', (select coalesce(jsonb_object_agg(t.name, jsonb_build_object('version', t.version, 'effect', t.effect)), '{}')
            from private.tools_of(p_tenant) t),
        'connections', (select coalesce(jsonb_object_agg(c.id, jsonb_build_object('provider', c.provider, 'access', c.access,
                'environment', c.environment, 'status', c.status, 'scopes_requested', c.scopes_requested,
                'scopes_granted', c.scopes_granted, 'consent_expires_at', c.consent_expires_at)), '{}')
            from app.connections c where c.tenant_id = p_tenant and c.environment = p_workflow.environment),
        'kill_switches', (select coalesce(jsonb_agg(jsonb_build_object('id', k.id, 'scope', k.scope, 'target', k.target, 'reason', k.reason) order by k.id), '[]')
            from app.kill_switches k where k.tenant_id = p_tenant and k.status = 'engaged'),
        'constitution', (select jsonb_build_object('version', version, 'rules', rules)
            from app.constitution_versions where tenant_id = p_tenant order by version desc limit 1),
        'thresholds', private.thresholds_of(p_tenant, p_workflow.id));
    insert into app.gate_facts (tenant_id, workflow_id, epoch, environment, facts)
    values (p_tenant, p_workflow.id, v_epoch, p_workflow.environment, v_facts) on conflict do nothing;
    return v_facts;
end
$$;

-- As it was, and with what one proposal rests on. args: {workflow, run_id?, keys?: [{key, type, value, skeleton?}],
-- limits?: [{key, window_seconds}]}. Of a run that the caller cannot see there is none.
create or replace function app.gate_facts_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.read');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'workflow');
    v_facts jsonb;
    v_run app.runs;
begin
    if v_workflow.live_version is null then
        perform private.fail(409, 'workflow_not_live', 'The workflow has no live version.');
    end if;
    v_facts := private.gate_facts(v_principal.tenant_id, v_workflow);
    select * into v_run from app.runs where tenant_id = v_principal.tenant_id and id = (p_args ->> 'run_id')::uuid
        and workflow_id = v_workflow.id and 'runs.read' = any (v_principal.permissions);
    return jsonb_build_object('facts', v_facts,
        'principal', jsonb_build_object('kind', v_principal.kind, 'id', v_principal.id),
        'run', case when v_run.id is not null then private.run_facts(v_run, null) end,
        'directory', private.directory_answers(v_principal.tenant_id, v_workflow.environment, p_args -> 'keys'),
        'limits', private.limit_states(v_principal.tenant_id, p_args -> 'limits', null));
end
$$;

-- What a decision rested on beside the facts of its epoch: {observed, directory, limits}. Null of decisions of before.
alter table app.decisions add column basis jsonb;

-- Whether a decision may still be recorded; null when it may, else the answer that carries what has moved since.
-- p_args: as record_action_v1; p_supersedes: the action that this one takes the place of, whose reservations end.
drop function private.stale_answer(private.principal, app.runs, bigint);
create function private.stale_answer(p_principal private.principal, p_run app.runs, p_args jsonb, p_supersedes uuid) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_workflow app.workflows;
    v_moved text;
begin
    perform private.lock_tenant(p_principal.tenant_id, false);
    select * into v_workflow from app.workflows where tenant_id = p_principal.tenant_id and id = p_run.workflow_id;
    if v_workflow.live_version is distinct from p_run.workflow_version then
        perform private.fail(409, 'workflow_version_moved', 'The workflow went live with a new version since the run started; start a new run.');
    end if;
    if (select control_epoch from app.tenants where tenant_id = p_principal.tenant_id) <> (p_args ->> 'epoch')::bigint then
        v_moved := 'epoch_moved';
    elsif p_args -> 'basis' ? 'observed'
        and private.observed(p_run.tenant_id, p_run.id) <> (p_args -> 'basis' ->> 'observed')::integer then
        v_moved := 'run_moved';
    elsif not private.limits_hold(p_principal.tenant_id, p_args, p_supersedes) then
        v_moved := 'limits_moved';
    else
        return null;
    end if;
    return jsonb_build_object('recorded', false, 'reason', v_moved,
        'run', case when p_args -> 'basis' ? 'observed' then private.run_facts(p_run, null) end,
        'limits', private.limit_states(p_principal.tenant_id, p_args -> 'decision' -> 'limits', p_supersedes))
        || case when v_moved = 'epoch_moved' then jsonb_build_object('facts', private.gate_facts(p_principal.tenant_id, v_workflow),
            'directory', private.directory_answers(p_principal.tenant_id, p_run.environment, p_args -> 'keys')) else '{}' end;
end
$$;

-- As it was, with what the decision rested on, and what it takes of the limits.
create or replace function private.insert_action(p_principal private.principal, p_run app.runs, p_args jsonb, p_edited_by uuid, p_supersedes app.actions)
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid := (p_args ->> 'id')::uuid;
    v_decision jsonb := p_args -> 'decision';
    v_status text := case v_decision ->> 'outcome' when 'allow' then 'authorized' when 'escalate' then 'awaiting_approval' else 'denied' end;
    v_exception uuid := case when v_status = 'awaiting_approval' then (p_args ->> 'exception_id')::uuid end;
begin
    insert into app.actions (tenant_id, id, environment, run_id, workflow_id, workflow_version, tool, contract_version, effect, connection_id,
        payload, digest, status, confidence, rationale, citations, evidence, subject,
        required_approvals, required_roles, required_aal, proposed_by_kind, proposed_by, edited_by, supersedes, expires_at, next_attempt_at)
    values (p_principal.tenant_id, v_id, p_run.environment, p_run.id, p_run.workflow_id, p_run.workflow_version, p_args ->> 'tool',
        (p_args ->> 'contract_version')::integer, p_args ->> 'effect', (p_args ->> 'connection_id')::uuid,
        p_args ->> 'payload', p_args ->> 'digest', v_status, (p_args ->> 'confidence')::numeric,
        coalesce(p_args ->> 'rationale', ''), p_args -> 'citations', p_args -> 'evidence', nullif(p_args -> 'subject', 'null'),
        (v_decision -> 'required_approvals' ->> 'count')::integer,
        array(select jsonb_array_elements_text(v_decision -> 'required_approvals' -> 'roles')),
        v_decision -> 'required_approvals' ->> 'aal',
        coalesce(p_supersedes.proposed_by_kind, p_principal.kind),
        case when p_supersedes.id is null then p_principal.id else p_supersedes.proposed_by end,
        p_edited_by, p_supersedes.id, (p_args ->> 'expires_at')::timestamptz, case when v_status = 'authorized' then now() end);
    insert into app.decisions (tenant_id, id, environment, action_id, run_id, workflow_id, epoch, outcome, document, reasons, decided_at, basis)
    values (p_principal.tenant_id, (p_args ->> 'decision_id')::uuid, p_run.environment, v_id, p_run.id, p_run.workflow_id,
        (p_args ->> 'epoch')::bigint, v_decision ->> 'outcome', v_decision, p_args -> 'reasons', (v_decision ->> 'decided_at')::timestamptz,
        nullif(p_args -> 'basis', 'null'));
    if v_status <> 'denied' then
        insert into app.limit_reservations (tenant_id, action_id, environment, key, amount, count, over, created_at)
        select p_principal.tenant_id, v_id, p_run.environment, c.key, c.amount, c.count, c.over, clock_timestamp()
        from jsonb_to_recordset(coalesce(v_decision -> 'limits', '[]')) as c (key text, amount bigint, count integer, over boolean);
    end if;
    if v_exception is not null then
        insert into app.exceptions (tenant_id, id, environment, action_id, run_id, severity, summary, expires_at)
        values (p_principal.tenant_id, v_exception, p_run.environment, v_id, p_run.id, p_args ->> 'severity', p_args ->> 'summary',
            (p_args ->> 'expires_at')::timestamptz);
    end if;
    return jsonb_build_object('recorded', true, 'id', v_id, 'status', v_status, 'digest', p_args ->> 'digest', 'decision', v_decision,
        'exception', case when v_exception is not null then jsonb_build_object('id', v_exception, 'expires_at', p_args ->> 'expires_at') end);
end
$$;

-- As it was. args: also {basis: {observed, directory, limits}, keys}
create or replace function app.record_action_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
    v_run app.runs := private.active_run(v_principal, (p_args ->> 'run_id')::uuid);
    v_stale jsonb := private.stale_answer(v_principal, v_run, p_args, null);
begin
    if v_stale is not null then
        return v_stale;
    elsif v_run.workflow_id <> (p_args ->> 'workflow_id')::uuid then
        perform private.fail(422, 'run_of_another_workflow', 'The run belongs to another workflow.');
    elsif exists (select from jsonb_array_elements(p_args -> 'evidence') e where not exists (
        select from app.observations o where o.tenant_id = v_principal.tenant_id and o.run_id = v_run.id
            and o.id = (e ->> 'observation_id')::uuid and o.status = 'succeeded')) then
        perform private.fail(422, 'unknown_evidence', 'The evidence names an observation that this run did not make, or that failed.');
    end if;
    return private.insert_action(v_principal, v_run, p_args, null, null);
end
$$;

-- As it was, with what the evaluation rested on. Takes nothing of any limit, but says what would fit.
create or replace function app.record_evaluation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.propose');
    v_run app.runs := private.active_run(v_principal, (p_args ->> 'run_id')::uuid);
    v_stale jsonb := private.stale_answer(v_principal, v_run, p_args, null);
begin
    if v_stale is not null then
        return v_stale;
    elsif v_run.workflow_id <> (p_args ->> 'workflow_id')::uuid then
        perform private.fail(422, 'run_of_another_workflow', 'The run belongs to another workflow.');
    end if;
    insert into app.decisions (tenant_id, id, environment, run_id, workflow_id, epoch, outcome, document, reasons, proposal, decided_at, basis)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, v_run.environment, v_run.id, v_run.workflow_id, (p_args ->> 'epoch')::bigint,
        p_args -> 'decision' ->> 'outcome', p_args -> 'decision', p_args -> 'reasons', p_args -> 'proposal',
        (p_args -> 'decision' ->> 'decided_at')::timestamptz, nullif(p_args -> 'basis', 'null'));
    return jsonb_build_object('recorded', true, 'decision', p_args -> 'decision');
end
$$;

-- As it was: the edited payload is compared with what has moved, and takes its own of the limits.
create or replace function app.edit_exception_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
    v_old app.actions := private.open_exception(v_principal, (p_args ->> 'exception_id')::uuid, p_args ->> 'digest');
    v_run app.runs;
    v_stale jsonb;
    v_new jsonb;
begin
    select * into v_run from app.runs where tenant_id = v_old.tenant_id and id = v_old.run_id;
    v_stale := private.stale_answer(v_principal, v_run, p_args -> 'action', v_old.id);
    if v_stale is not null then
        return v_stale;
    end if;
    update app.exceptions set status = 'edited', decided_by = v_principal.id, decided_at = now(), reason = p_args ->> 'reason'
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'exception_id')::uuid;
    update app.actions set status = 'superseded', status_reason = p_args ->> 'reason', updated_at = now()
        where tenant_id = v_old.tenant_id and id = v_old.id;
    v_new := private.insert_action(v_principal, v_run, p_args -> 'action', v_principal.id, v_old);
    return jsonb_build_object('id', p_args ->> 'exception_id', 'status', 'edited', 'action', jsonb_build_object('id', v_old.id, 'status', 'superseded'),
        'superseded_by', v_new - 'recorded');
end
$$;

select private.guard_table('app.observations');
revoke all on all functions in schema app, private from public;
