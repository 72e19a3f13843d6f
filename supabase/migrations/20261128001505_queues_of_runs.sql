-- How runs that are driven here are started, by a call or on a schedule, and in which order they go on: what waits for room keeps nothing
-- else waiting, and does not pile up without end.

-- Up to when a workflow's schedule was looked at, and when it is due next.
create table private.schedule_marks (
    tenant_id uuid not null,
    workflow_id uuid not null,
    schedule text not null,
    version integer not null,
    last_slot timestamptz,
    next_at timestamptz,
    primary key (tenant_id, workflow_id, schedule),
    foreign key (tenant_id, workflow_id) references app.workflows (tenant_id, id)
);
revoke all on private.schedule_marks from public;

-- What waits to begin, which is counted.
create index runs_queued on app.runs (tenant_id, workflow_id) where status = 'queued';

-- Runs of one workflow that may wait to begin: whoever starts more is told to come again, as are providers, who do.
create function private.most_queued() returns integer
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select 1000
$$;

-- Queues a run of the live version's loop, while there is room to wait in. Of an event that has a run already, answers that.
create function private.queue_run(p_workflow app.workflows, p_id uuid, p_trigger text, p_detail jsonb, p_instruction text, p_subject jsonb,
    p_dedupe text, p_kind text, p_by uuid) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_loop jsonb;
    v_id uuid;
    v_words text;
begin
    select spec -> 'loop' into v_loop from app.workflow_versions
        where tenant_id = p_workflow.tenant_id and workflow_id = p_workflow.id and version = p_workflow.live_version;
    if v_loop is null then
        perform private.fail(409, 'no_loop', 'The workflow''s live version declares no loop; drive the run yourself.');
    end if;
    v_words := concat_ws(E'\n\n', v_loop ->> 'instruction', p_instruction);
    insert into app.runs (tenant_id, id, environment, workflow_id, workflow_version, status, driven_by, trigger, trigger_detail, dedupe_key,
        instruction, subject, started_by_kind, started_by)
    values (p_workflow.tenant_id, p_id, p_workflow.environment, p_workflow.id, p_workflow.live_version, 'queued', 'loop', p_trigger, p_detail,
        p_dedupe, v_words, p_subject, p_kind, p_by)
    on conflict (tenant_id, workflow_id, dedupe_key) where dedupe_key is not null do nothing returning id into v_id;
    if v_id is null then
        select id into v_id from app.runs where tenant_id = p_workflow.tenant_id and workflow_id = p_workflow.id and dedupe_key = p_dedupe;
        return jsonb_build_object('id', v_id, 'started', false);
    end if;
    if (select count(*) from app.runs where tenant_id = p_workflow.tenant_id and workflow_id = p_workflow.id and status = 'queued')
        > private.most_queued() then
        perform private.fail_until(clock_timestamp() + interval '1 minute', 'too_many_queued', format(
            '%s runs of the workflow wait to begin already; cancel them, decide what its runs wait for, or raise its max_concurrent.',
            private.most_queued()));
    end if;
    insert into private.run_work (tenant_id, run_id) values (p_workflow.tenant_id, v_id);
    return jsonb_build_object('id', v_id, 'started', true, 'status', 'queued', 'workflow', p_workflow.slug, 'environment', p_workflow.environment,
        'workflow_version', p_workflow.live_version, 'trigger', p_trigger, 'instruction', v_words, 'subject', p_subject);
end
$$;

-- Queues a run that somebody asks for. args: {id, workflow, instruction?, subject?}
create function app.queue_run_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'workflow');
begin
    if v_workflow.live_version is null then
        perform private.fail(409, 'workflow_not_live', 'The workflow has no live version.');
    elsif not exists (select from app.workflow_versions where tenant_id = v_workflow.tenant_id and workflow_id = v_workflow.id
        and version = v_workflow.live_version and spec -> 'loop' -> 'triggers' @> '[{"kind": "call"}]') then
        perform private.fail(409, 'not_called', 'The workflow''s loop is not started by a call: its live version names no such trigger.');
    end if;
    return private.queue_run(v_workflow, (p_args ->> 'id')::uuid, 'call', null, p_args ->> 'instruction', nullif(p_args -> 'subject', 'null'),
        null, v_principal.kind, v_principal.id);
end
$$;

-- A run that failed is a person's: they are told by its alert, and have it run again when what kept it is put right. Its event is taken for
-- good, so that the provider's own redelivery starts nothing. Queues a run of the live version for the same event and words, once for each
-- failed run, and closes its alert. Not where the failed one has done anything, or may still: reads and thought are repeated, an effect
-- never is. Nor where a person has done by hand what the failed run proposed, or is still to: an item of the manual queue, or an exception
-- that was answered so, whose actions are denied and cancelled as if nothing had been done. args: {id, run_id, reason}
create function app.restart_run_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_old app.runs;
    v_workflow app.workflows;
    v_told text;
    v_run jsonb;
begin
    if v_principal.kind <> 'user' then
        perform private.fail(403, 'people_only', 'A person has a failed run run again; a key starts one of its own.');
    end if;
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_old from app.runs where tenant_id = v_principal.tenant_id and id = (p_args ->> 'run_id')::uuid for no key update;
    if not found or v_old.environment <> coalesce(v_principal.environment, v_old.environment) then
        perform private.fail(404, 'not_found', 'There is no such run.');
    elsif v_old.driven_by <> 'loop' or v_old.status <> 'failed' then
        perform private.fail(409, 'run_not_failed', format('The run is %s; only what its workflow''s loop drove, and which failed, runs again.', v_old.status));
    elsif v_old.erased_at is not null then
        perform private.fail(409, 'run_erased', 'What this run was told is erased; start a new run.');
    elsif exists (select from app.actions where tenant_id = v_old.tenant_id and run_id = v_old.id
        and status not in ('denied', 'rejected', 'expired', 'cancelled', 'failed', 'superseded')) then
        perform private.fail(409, 'run_has_acted', 'The run has done something, or may still: another one might do it twice. See its actions, and do the rest by hand.');
    elsif exists (select from app.exceptions e join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
        where e.tenant_id = v_old.tenant_id and e.run_id = v_old.id and (e.kind = 'manual' and (e.status = 'open'
            or e.status = 'answered' and e.reproposed_as is null) or e.status = 'answered' and a.status_reason = 'answered by hand')) then
        perform private.fail(409, 'run_has_acted', 'What the run proposed was done by hand, or waits for that: another one might do it twice. Do the rest by hand.');
    end if;
    select * into v_workflow from app.workflows where tenant_id = v_old.tenant_id and id = v_old.workflow_id;
    select spec -> 'loop' ->> 'instruction' || E'\n\n' into v_told from app.workflow_versions
        where tenant_id = v_old.tenant_id and workflow_id = v_old.workflow_id and version = v_old.workflow_version;
    v_run := private.queue_run(v_workflow, (p_args ->> 'id')::uuid, v_old.trigger,
        coalesce(v_old.trigger_detail, '{}') || jsonb_build_object('restarts', v_old.id, 'reason', left(p_args ->> 'reason', 500)),
        case when starts_with(v_old.instruction, v_told) then substr(v_old.instruction, length(v_told) + 1) end,
        v_old.subject, 'restart:' || v_old.id, v_principal.kind, v_principal.id);
    if not (v_run ->> 'started')::boolean then
        perform private.fail(409, 'restarted_already', format('This run was had run again already: see run %s.', v_run ->> 'id'));
    end if;
    perform private.resolve_alert(v_old.tenant_id, 'run.failed', 'run', v_old.id::text, format('It runs again as %s.', v_run ->> 'id'));
    return v_run;
end
$$;

-- Schedules of live versions that may be due, of any tenant: {tenant_id, workflow_id, cron, time_zone, since, now}. since: the slot that was
-- last taken, or when the version went live. What a kill switch covers waits, and is due once when that is over.
create function app.claim_due_schedules_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(to_jsonb(d)), '[]') from (
        select w.tenant_id, w.id as workflow_id, t ->> 'cron' as cron, t ->> 'time_zone' as time_zone,
            case when m.version = w.live_version then coalesce(m.last_slot, r.updated_at) else r.updated_at end as since, clock_timestamp() as now
        from app.workflows w
        join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
        join app.workflow_reviews r on r.tenant_id = w.tenant_id and r.workflow_id = w.id and r.version = w.live_version
        cross join lateral jsonb_array_elements(v.spec -> 'loop' -> 'triggers') t
        left join private.schedule_marks m on m.tenant_id = w.tenant_id and m.workflow_id = w.id
            and m.schedule = (t ->> 'cron') || ' ' || (t ->> 'time_zone')
        where v.spec ? 'loop' and t ->> 'kind' = 'schedule'
            and (m.version is distinct from w.live_version or m.next_at <= clock_timestamp())
            and (private.kill_switch_over(w.tenant_id, w.id, null, null, null)).id is null
        order by row_number() over (partition by w.tenant_id order by m.next_at nulls first, w.id), w.tenant_id limit p_limit) d
$$;

-- Takes a slot of a schedule, once, and notes when it is due next. It starts no run when a later slot was taken, nor while the run of an
-- earlier one still waits to begin: what was missed is done once. Nor is one taken while a kill switch covers the workflow.
-- args: {id, workflow_id, cron, time_zone, slot?, next_at?}
create function app.start_scheduled_run_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.advance');
    v_workflow app.workflows;
    v_schedule text := (p_args ->> 'cron') || ' ' || (p_args ->> 'time_zone');
    v_slot timestamptz := (p_args ->> 'slot')::timestamptz;
    v_last timestamptz;
    v_detail jsonb := jsonb_build_object('cron', p_args ->> 'cron', 'time_zone', p_args ->> 'time_zone', 'slot', p_args ->> 'slot');
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_workflow from app.workflows where tenant_id = v_principal.tenant_id and id = (p_args ->> 'workflow_id')::uuid;
    if not exists (select from app.workflow_versions where tenant_id = v_workflow.tenant_id and workflow_id = v_workflow.id
        and version = v_workflow.live_version and spec -> 'loop' -> 'triggers'
            @> jsonb_build_array(jsonb_build_object('kind', 'schedule', 'cron', p_args ->> 'cron', 'time_zone', p_args ->> 'time_zone'))) then
        perform private.fail(409, 'no_schedule', 'The workflow''s live version has no such schedule.');
    elsif v_slot > clock_timestamp() + interval '1 second' then
        perform private.fail(409, 'not_due', 'This slot is not due yet.');
    end if;
    -- Before the slot is taken: else a switch that is engaged just now would swallow it.
    if (private.kill_switch_over(v_workflow.tenant_id, v_workflow.id, null, null, null)).id is not null then
        return jsonb_build_object('started', false);
    end if;
    insert into private.schedule_marks as m (tenant_id, workflow_id, schedule, version, last_slot, next_at)
    values (v_workflow.tenant_id, v_workflow.id, v_schedule, v_workflow.live_version, v_slot, (p_args ->> 'next_at')::timestamptz)
    on conflict (tenant_id, workflow_id, schedule) do update set version = excluded.version, next_at = excluded.next_at,
        last_slot = greatest(m.last_slot, excluded.last_slot)
    returning last_slot into v_last;
    if v_slot is null or v_slot < v_last
        or exists (select from app.runs where tenant_id = v_workflow.tenant_id and workflow_id = v_workflow.id and status = 'queued'
            and trigger = 'schedule' and trigger_detail @> (v_detail - 'slot')) then
        return jsonb_build_object('started', false);
    end if;
    return private.queue_run(v_workflow, (p_args ->> 'id')::uuid, 'schedule', v_detail, null, null,
        'schedule:' || v_schedule || ':' || extract(epoch from v_slot)::bigint, 'system', null);
end
$$;

-- Whether anything that a run proposed goes on by itself or waits for a person.
create function private.has_open_actions(p_tenant uuid, p_run uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.actions where tenant_id = p_tenant and run_id = p_run
        and status in ('awaiting_approval', 'authorized', 'executing', 'unknown'))
$$;

-- Runs that are due, of any tenant, in turns. One that waits is due when nothing that it proposed is open any more. Of a workflow's queued
-- runs only as many, the oldest, as there is room for: one workflow with thousands of them, whose runs wait for a person, would else take
-- every turn of its tenant's other workflows, and of its own runs that are under way.
create function app.claim_due_runs_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with due as materialized (
        select k.tenant_id, k.run_id, k.next_at, r.workflow_id, r.workflow_version, r.status,
            row_number() over (partition by r.tenant_id, r.workflow_id, r.status = 'queued' order by k.next_at, k.run_id) as place
        from private.run_work k join app.runs r on r.tenant_id = k.tenant_id and r.id = k.run_id
        where k.next_at <= clock_timestamp() and coalesce(k.lease_expires_at <= clock_timestamp(), true)
            and (r.status <> 'waiting' or not private.has_open_actions(r.tenant_id, r.id))
    ), workflows as materialized (
        select w.tenant_id, w.workflow_id, w.workflow_version, coalesce((v.spec -> 'loop' ->> 'max_concurrent')::integer, 1)
            - (select count(*) from app.runs u where u.tenant_id = w.tenant_id and u.workflow_id = w.workflow_id
                and u.status in ('running', 'waiting')) as room
        from (select distinct tenant_id, workflow_id, workflow_version from due) w
        join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.workflow_id and v.version = w.workflow_version
        where (private.kill_switch_over(w.tenant_id, w.workflow_id, null, null, null)).id is null
    )
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', d.tenant_id, 'run_id', d.run_id)), '[]') from (
        select d.tenant_id, d.run_id from due d join workflows w using (tenant_id, workflow_id, workflow_version)
        where d.status <> 'queued' or d.place <= w.room
        order by row_number() over (partition by d.tenant_id order by d.next_at, d.run_id), d.next_at limit p_limit) d
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.queue_run_v1, app.restart_run_v1, app.start_scheduled_run_v1 to authenticated;
grant execute on function app.claim_due_schedules_v1, app.claim_due_runs_v1 to countersign_worker;
