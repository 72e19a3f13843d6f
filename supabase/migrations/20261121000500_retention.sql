-- Retention: what was read is erased when its time is over, by one scheduled function and by nobody else, neither
-- earlier nor otherwise. And the heartbeats of scheduled functions, so that one that no longer runs is noticed.

-- When each scheduled function ran last. Says that it lives, and proves nothing to anybody: no row of a tenant.
create table private.function_runs (
    function text primary key check (function ~ '^[a-z][a-z_]{0,59}$'),
    started_at timestamptz not null,
    finished_at timestamptz not null,
    ok boolean not null,
    succeeded_at timestamptz
);
revoke all on private.function_runs from public;

-- Notes that a scheduled function ran. The time at which it ended is the database's.
create function app.note_function_run_v1(p_function text, p_started_at timestamptz, p_ok boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    insert into private.function_runs as r (function, started_at, finished_at, ok, succeeded_at)
    values (p_function, least(p_started_at, v_now), v_now, p_ok, case when p_ok then v_now end)
    on conflict (function) do update set started_at = excluded.started_at, finished_at = excluded.finished_at,
        ok = excluded.ok, succeeded_at = coalesce(excluded.succeeded_at, r.succeeded_at);
end
$$;

-- Whether a scheduled function succeeded within a time.
create function private.ran_within(p_function text, p_time interval) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from private.function_runs where function = p_function and succeeded_at > clock_timestamp() - p_time)
$$;

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('observations.erase', '{}', false, true, false, 'erase what was kept as long as its workflow says');

alter table app.observations add column erased_at timestamptz;
alter table app.observations add column erased_classes text[] not null default '{}';
create index observations_not_erased on app.observations (created_at) where erased_at is null;
-- Answers that are stored under an idempotency key repeat what was read.
create index idempotency_keys_by_observation on app.idempotency_keys (tenant_id, (answer ->> 'id')) where answer ? 'labels';

-- What a part of an observation is: the class of its label, `internal` without one.
create function private.class_of_label(p_label jsonb) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select coalesce(p_label ->> 'data_class', 'internal')
$$;

-- A result without the parts of some classes. Labels are looked up as they were made: items of lists and names of
-- digits are `*`. A part without a label goes with the first class that goes. Null when nothing is left.
create function private.without_classes(p_value jsonb, p_at text, p_labels jsonb, p_classes text[]) returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    v_kept jsonb;
begin
    if jsonb_typeof(p_value) = 'object' and p_value <> '{}' then
        select jsonb_object_agg(key, kept) into v_kept from (
            select m.key, private.without_classes(m.value, p_at || '/' || case when m.key ~ '^[0-9]+$' then '*'
                else replace(replace(m.key, '~', '~0'), '/', '~1') end, p_labels, p_classes) as kept
            from jsonb_each(p_value) m) parts
        where kept is not null;
        return v_kept;
    elsif jsonb_typeof(p_value) = 'array' and p_value <> '[]' then
        select jsonb_agg(kept order by n) into v_kept from (
            select i.n, private.without_classes(i.value, p_at || '/*', p_labels, p_classes) as kept
            from jsonb_array_elements(p_value) with ordinality i (value, n)) parts
        where kept is not null;
        return v_kept;
    elsif not p_labels ? p_at or private.class_of_label(p_labels -> p_at) = any (p_classes) then
        return null;
    end if;
    return p_value;
end
$$;

-- What is due for an observation: all of it, or some classes, by the version of the workflow that read it.
create function private.due_for_erasure(p_row app.observations, out everything boolean, out classes text[])
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_spec jsonb;
    v_age interval := clock_timestamp() - coalesce(p_row.finished_at, p_row.created_at);
begin
    select v.spec into v_spec from app.runs r
        join app.workflow_versions v on v.tenant_id = r.tenant_id and v.workflow_id = r.workflow_id and v.version = r.workflow_version
        where r.tenant_id = p_row.tenant_id and r.id = p_row.run_id;
    everything := v_age >= make_interval(days => coalesce((v_spec ->> 'retention_days')::integer, 365));
    classes := array(select c.key from jsonb_each_text(coalesce(v_spec -> 'retention', '{}')) c
        where v_age >= make_interval(days => c.value::integer) and exists (
            select from jsonb_each(coalesce(p_row.labels, '{}')) l where private.class_of_label(l.value) = c.key)
        order by c.key);
end
$$;

-- An observation is closed once, and then only ever loses what is due. The content of what is left is made here, so
-- that whoever erases can neither change nor keep anything.
create or replace function private.observation_transition() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_due record;
    v_classes text[];
begin
    if (new.erased_at, new.erased_classes) is not distinct from (old.erased_at, old.erased_classes) then
        if old.status <> 'reading' or old.erased_at is not null then
            perform private.fail(409, 'observation_closed', 'The observation is closed.');
        elsif new.args is distinct from old.args then
            perform private.fail(409, 'immutable_column', 'What was asked stays what was asked.');
        end if;
        return new;
    end if;
    v_principal := private.require('observations.erase');
    if v_principal.kind <> 'system' or v_principal.tenant_id <> new.tenant_id then
        perform private.fail(403, 'permission_denied', 'Only the scheduled function erases.');
    elsif old.erased_at is not null then
        perform private.fail(409, 'observation_closed', 'The observation is erased already.');
    end if;
    v_due := private.due_for_erasure(old);
    v_classes := new.erased_classes;
    if new.erased_at is not null then
        if not v_due.everything then
            perform private.fail(409, 'not_due', 'This observation is still to be kept.');
        end if;
        new := old;
        new.erased_at := clock_timestamp();
        new.args := '{}';
        new.result := null;
        new.labels := null;
        new.finished_at := coalesce(old.finished_at, new.erased_at);
        new.status := case when old.status = 'reading' then 'failed' else old.status end;
        return new;
    end if;
    if not v_classes <@ v_due.classes then
        perform private.fail(409, 'not_due', 'Data of this class is still to be kept.');
    end if;
    new := old;
    new.erased_classes := array(select distinct c from unnest(old.erased_classes || v_classes) c order by c);
    new.result := private.without_classes(old.result, '', coalesce(old.labels, '{}'), new.erased_classes);
    new.labels := (select jsonb_object_agg(key, value) from jsonb_each(old.labels)
        where private.class_of_label(value) <> all (new.erased_classes));
    return new;
end
$$;
drop trigger observations_keep_columns on app.observations;
create trigger observations_keep_columns before update on app.observations
    for each row execute function private.keep_columns(
        'status', 'args', 'result', 'labels', 'digest', 'error', 'finished_at', 'erased_at', 'erased_classes');
create trigger observations_refuse_delete before delete on app.observations
    for each row execute function private.refuse_change();
drop trigger zz_audit_change on app.observations;
select private.audit_table('app.observations', 'observation', 'recorded',
    'tool contract_version connection_id source digest erased_at erased_classes', 'error');

-- A new member says what is gone; the document is otherwise what it was.
create or replace function private.observation_document(p_row app.observations) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_row.id, 'run_id', p_row.run_id, 'tool', p_row.tool, 'contract_version', p_row.contract_version,
        'source', p_row.source, 'status', p_row.status, 'args', p_row.args, 'result', p_row.result, 'labels', p_row.labels,
        'digest', p_row.digest, 'error', p_row.error, 'created_at', p_row.created_at,
        'erased_at', p_row.erased_at, 'erased_classes', p_row.erased_classes)
$$;

-- A stored answer changes in one way: what it repeats of an observation goes when the observation goes.
create or replace function private.guard_idempotency_key() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'UPDATE' and to_jsonb(new) - 'answer' = to_jsonb(old) - 'answer' and old.answer ? 'labels' and exists (
        select from app.observations o where o.tenant_id = new.tenant_id and o.id = (old.answer ->> 'id')::uuid
            and (o.erased_at is not null or cardinality(o.erased_classes) > 0)
            and new.answer = private.observation_document(o)) then
        return new;
    elsif tg_op = 'UPDATE' or old.created_at > now() - interval '30 days' then
        perform private.fail(409, 'append_only', 'An idempotency key names one request for ever.');
    end if;
    return old;
end
$$;

-- Observations of any tenant of which something is due, oldest first, as ids.
create function app.claim_expired_observations_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', tenant_id, 'id', id)), '[]') from (
        select o.tenant_id, o.id from app.observations o cross join lateral private.due_for_erasure(o) due
        -- Nothing is kept for less than a day.
        where o.erased_at is null and o.created_at < now() - interval '1 day'
            and (due.everything or not due.classes <@ o.erased_classes)
        order by o.created_at limit p_limit) found
$$;

-- Erases what is due of these observations and of the answers that repeat them; leaves digest, tool and times.
-- args: {ids}. Answers {erased: so many}.
create function app.erase_observations_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('observations.erase');
    v_row app.observations;
    v_due record;
    v_erased integer := 0;
begin
    for v_row in
        select * from app.observations where tenant_id = v_principal.tenant_id and erased_at is null
            and id = any (array(select jsonb_array_elements_text(p_args -> 'ids')::uuid)) order by id for update
    loop
        v_due := private.due_for_erasure(v_row);
        if v_due.everything then
            update app.observations set erased_at = clock_timestamp()
                where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
        elsif not v_due.classes <@ v_row.erased_classes then
            update app.observations set erased_classes = v_due.classes
                where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
        else
            continue;
        end if;
        update app.idempotency_keys set answer = private.observation_document(v_row)
            where tenant_id = v_row.tenant_id and answer ? 'labels' and answer ->> 'id' = v_row.id::text;
        v_erased := v_erased + 1;
    end loop;
    return jsonb_build_object('erased', v_erased);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.erase_observations_v1 to authenticated;
grant execute on function app.note_function_run_v1, app.claim_expired_observations_v1 to countersign_worker;
