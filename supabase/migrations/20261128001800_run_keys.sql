-- The keys of runs: what is read and thought in a run is sealed by the application under the run's own keys, one for each class of
-- data, and a key that is destroyed takes every copy of what was sealed under it along. The database has the keys only as they are
-- wrapped by the application's key-encryption key, and sees to it that none is destroyed early, or made again.

create table app.run_keys (
    tenant_id uuid not null references app.tenants,
    run_id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    status text not null default 'kept' check (status in ('kept', 'partly_destroyed', 'destroyed')),
    keys jsonb not null check (jsonb_typeof(keys) = 'object' and octet_length(keys::text) <= 10000),   -- {bucket: {kek, key}}
    destroyed jsonb not null default '{}' check (jsonb_typeof(destroyed) = 'object'),                  -- {bucket: {at, why}}
    created_at timestamptz not null default now(),
    primary key (tenant_id, run_id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id)
);
create index run_keys_by_age on app.run_keys (created_at) where status <> 'destroyed';

-- What of a run is not over yet: an action that waits, is under way, or whose outcome a person has to look into.
create function private.is_open_run(p_tenant uuid, p_run uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.actions where tenant_id = p_tenant and run_id = p_run
        and status in ('awaiting_approval', 'authorized', 'executing', 'unknown', 'dead_letter'))
$$;

-- Why all of a run may go now: `request`, when a person asked for it; `time`, when the last thing that happened in it is older than its
-- workflow keeps anything. Null while it is to be kept, and while something in it is open.
create function private.why_run_is_due(p_run app.runs) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_days integer;
    v_last timestamptz;
begin
    if private.is_open_run(p_run.tenant_id, p_run.id) then
        return null;
    elsif exists (select from app.erasure_runs where tenant_id = p_run.tenant_id and run_id = p_run.id) then
        return 'request';
    end if;
    select coalesce((v.spec ->> 'retention_days')::integer, 365) into v_days from app.workflow_versions v
        where v.tenant_id = p_run.tenant_id and v.workflow_id = p_run.workflow_id and v.version = p_run.workflow_version;
    select greatest(p_run.created_at,
        (select max(coalesce(o.finished_at, o.created_at)) from app.observations o where o.tenant_id = p_run.tenant_id and o.run_id = p_run.id),
        (select max(a.updated_at) from app.actions a where a.tenant_id = p_run.tenant_id and a.run_id = p_run.id)) into v_last;
    return case when v_last <= clock_timestamp() - make_interval(days => v_days) then 'time' end;
end
$$;

-- The keys of a run that are due: all of them, or those of classes of data of which nothing in the run is to be kept any more. While
-- something in it is open none is: what is read to settle it must be kept somehow. (What it read before goes on time all the same.)
-- What a model was told and answered, and what a loop thought of it, holds what was read, of every class: `prompt` and `payload` go with
-- the first class that does, once nothing more is thought or proposed in the run.
create function private.due_run_keys(p_row app.run_keys, out why text, out buckets text[])
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

-- Keys are made once, with nothing destroyed. They are wrapped anew as the same keys, by the function that rotates; and destroyed
-- when they are due, by the function that erases. What is left of the row is made here, so that neither can do more.
create function private.guard_run_keys() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_gone text[];
    v_due record;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'The record of a run''s keys stays; the keys themselves are destroyed.');
    elsif tg_op = 'INSERT' then
        if new.status <> 'kept' or new.destroyed <> '{}' or new.keys = '{}' then
            perform private.fail(409, 'invalid_transition', 'A run''s keys begin as kept.');
        end if;
        select environment into new.environment from app.runs where tenant_id = new.tenant_id and id = new.run_id;
        return new;
    end if;
    if new.destroyed = old.destroyed then
        v_principal := private.require('connections.maintain');
        if v_principal.tenant_id <> new.tenant_id or new.status <> old.status
            or array(select key from jsonb_object_keys(new.keys) key order by 1) <> array(select key from jsonb_object_keys(old.keys) key order by 1) then
            perform private.fail(409, 'immutable_column', 'A run''s keys are only wrapped anew, or destroyed when they are due.');
        end if;
        return new;
    end if;
    v_principal := private.require('observations.erase');
    if v_principal.kind <> 'system' or v_principal.tenant_id <> new.tenant_id then
        perform private.fail(403, 'permission_denied', 'Only the scheduled function erases.');
    end if;
    v_gone := array(select key from jsonb_object_keys(new.destroyed) key where not old.destroyed ? key);
    v_due := private.due_run_keys(old);
    if v_gone = '{}' or not v_gone <@ v_due.buckets then
        perform private.fail(409, 'not_due', 'This key is still to be kept.');
    end if;
    new := old;
    new.keys := old.keys - v_gone;
    new.destroyed := old.destroyed || (select jsonb_object_agg(key, jsonb_build_object('at', clock_timestamp(), 'why', v_due.why))
        from unnest(v_gone) key);
    new.status := case when new.keys = '{}' then 'destroyed' else 'partly_destroyed' end;
    return new;
end
$$;
create trigger run_keys_guard before insert or update or delete on app.run_keys
    for each row execute function private.guard_run_keys();
create trigger run_keys_keep_columns before update on app.run_keys
    for each row execute function private.keep_columns('keys', 'destroyed', 'status');
select private.audit_table('app.run_keys', 'run_key', 'made', 'destroyed');

alter table app.run_keys enable row level security;
alter table app.run_keys force row level security;
create policy "members read their tenant's run keys of their environment" on app.run_keys for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.run_keys to authenticated;

-- The keys of a run as the application takes them; `keys` is null when it never had any.
create function private.run_keys_of(p_tenant uuid, p_run uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('tenant_id', p_tenant, 'run_id', p_run,
        'keys', (select keys from app.run_keys where tenant_id = p_tenant and run_id = p_run))
$$;

-- Keeps the keys of a run that has none yet; answers those that it has, whoever was first.
-- args: {run_id, keys: {bucket: {kek, key}}}
create function app.keep_run_keys_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('runs.write');
    v_run app.runs;
begin
    select * into v_run from app.runs where tenant_id = v_principal.tenant_id and id = (p_args ->> 'run_id')::uuid;
    if not found or v_run.environment <> coalesce(v_principal.environment, v_run.environment) then
        perform private.fail(404, 'not_found', 'There is no such run.');
    end if;
    insert into app.run_keys (tenant_id, run_id, environment, keys)
        values (v_run.tenant_id, v_run.id, v_run.environment, p_args -> 'keys') on conflict do nothing;
    return private.run_keys_of(v_run.tenant_id, v_run.id);
end
$$;

-- What a run is about and what was read in it, up to so many observations, with the keys that open it.
create or replace function private.run_facts(p_run app.runs, p_observed integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_run.id, 'instruction', p_run.instruction, 'subject', p_run.subject,
        'observed', coalesce(p_observed, private.observed(p_run.tenant_id, p_run.id)),
        'observations', (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'tool', o.tool, 'source', o.source,
                'result', o.result, 'labels', coalesce(o.labels, '{}'),
                'erased', o.erased_at is not null or cardinality(o.erased_classes) > 0)
                order by o.number nulls first, o.finished_at, o.id), '[]')
            from app.observations o where o.tenant_id = p_run.tenant_id and o.run_id = p_run.id and o.status = 'succeeded'
                and (p_observed is null or o.number is null or o.number <= p_observed)),
        'keys', private.run_keys_of(p_run.tenant_id, p_run.id))
$$;

-- Wraps under the first key: up to p_limit runs, of any tenant, that have a key which is wrapped under another one, and how many are
-- left under each. Only those whose keys the caller has all of.
create function app.claim_run_key_rewraps_v1(p_first text, p_known text[], p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with wrapped as (
        select k.tenant_id, k.run_id, k.keys, array(select distinct e.value ->> 'kek' from jsonb_each(k.keys) e) as keks
        from app.run_keys k where k.status <> 'destroyed'
    )
    select jsonb_build_object(
        'left', (select coalesce(jsonb_object_agg(kek, n), '{}') from (select kek, count(*) as n from wrapped, unnest(keks) kek group by kek) c),
        'work', (select coalesce(jsonb_agg(private.run_keys_of(w.tenant_id, w.run_id)), '[]') from (
            select tenant_id, run_id from wrapped where not keks <@ array[p_first] and keks <@ p_known order by random() limit p_limit) w))
$$;

-- Takes a run's keys back as they are wrapped under the first key, unless they changed meanwhile.
-- args: {run_id, was: {bucket: {kek, key}}, keys}
create function app.store_run_keys_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
begin
    update app.run_keys set keys = p_args -> 'keys'
        where tenant_id = v_principal.tenant_id and run_id = (p_args ->> 'run_id')::uuid and keys = p_args -> 'was';
    return jsonb_build_object('stored', found);
end
$$;

select private.guard_table('app.run_keys');
revoke all on all functions in schema app, private from public;
grant execute on function app.keep_run_keys_v1, app.store_run_keys_v1 to authenticated;
grant execute on function app.claim_run_key_rewraps_v1 to countersign_worker;
