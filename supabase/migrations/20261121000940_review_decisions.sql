-- What was decided after a review: a lowered cooling-off period waits for the old one, and four of the nine controls.

-- A period that lowers the one in force takes effect when that one has gone by since its approval. Who could lower it at
-- once could lower it to nothing, have an account approved, and pay it. What was approved before this came keeps its effect.
alter table app.directory_settings
    add column before_hours integer,            -- what was in force at the approval, of a period that is shorter
    add column before_until timestamptz,        -- and until when it stays in force
    add check ((before_hours is null) = (before_until is null)),
    add check (before_hours > cooling_off_hours);
drop trigger zz_audit_change on app.directory_settings;
select private.audit_table('app.directory_settings', 'directory_settings', 'changed', 'version cooling_off_hours before_hours before_until change_id');

-- The settings of a tenant as of now, as far as the caller may read them: version 0 is what holds when nobody changed them.
create function private.cooling_off(p_tenant uuid)
returns table (version integer, cooling_off_hours integer, lowered_to integer, lowered_from_at timestamptz, change_id uuid)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(s.version, 0), greatest(coalesce(s.cooling_off_hours, 72), h.hours),
        case when h.hours > s.cooling_off_hours then s.cooling_off_hours end,
        case when h.hours > s.cooling_off_hours then h.until end, s.change_id
    from (select max(before_hours) as hours, max(before_until) as until from app.directory_settings
        where tenant_id = p_tenant and before_until > now()) h
    left join (select * from app.directory_settings where tenant_id = p_tenant order by version desc limit 1) s on true
$$;

create or replace function private.cooling_off_hours(p_tenant uuid) returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select cooling_off_hours from private.cooling_off(p_tenant)
$$;

-- As it was; and what is lowered says until when the period before it holds, whatever was written there.
create or replace function private.guard_directory_settings() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_change app.directory_changes := private.change_at_work(new.tenant_id, new.change_id);
    v_hours integer := private.cooling_off_hours(new.tenant_id);
begin
    if v_change.kind <> 'settings' or new.version <> v_change.base_version + 1
        or new.cooling_off_hours::text is distinct from v_change.payload::jsonb -> 'settings' ->> 'cooling_off_hours' then
        perform private.fail(409, 'not_what_was_approved', 'The settings are not what was approved.');
    end if;
    new.created_at := now();
    -- By the clock: a transaction may have begun long before the approval.
    new.before_hours := case when new.cooling_off_hours < v_hours then v_hours end;
    new.before_until := clock_timestamp() + make_interval(hours => new.before_hours);
    return new;
end
$$;

-- Control 4. As it was; and where tokens end, somebody renews them.
create or replace function private.readiness_4(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with bound as (
        select format('%s (%s)', b.provider, b.access) as name, b.provider, b.access, c, to_jsonb(c) as row,
            exists (select from app.credentials k join vault.secrets s on s.id = k.secret_id
                    and s.name = private.secret_name(k.connection_id, k.generation)
                where k.tenant_id = p_workflow.tenant_id and k.connection_id = b.id) as sealed,
            exists (select from app.credentials k where k.tenant_id = p_workflow.tenant_id and k.connection_id = b.id
                and k.token_expires_at is not null) as ends
        from private.bound_connections(p_version.spec) b
        left join app.connections c on c.tenant_id = p_workflow.tenant_id and c.id = b.id
    )
    select 'Not connected: ' || string_agg(format('%s is %s', name, coalesce(row ->> 'status', 'missing')), ', ') || '. Connect again.',
        format('All %s connections are active.', (select count(*) from bound))
        from bound where row ->> 'status' is distinct from 'active'
    union all
    select 'Of another environment, access or provider: ' || string_agg(name, ', ') || '. Bind one that fits.',
        format('Every connection is of %s, and of the access that it is bound for.', p_workflow.environment)
        from bound where (row ->> 'environment', row ->> 'access', row ->> 'provider') is distinct from (p_workflow.environment, access, provider)
    union all
    select 'The credential is missing of: ' || string_agg(name, ', ') || '. Connect again.', 'Every connection holds a sealed credential.'
        from bound where not sealed
    union all
    select 'The consent ends within a week of: ' || string_agg(name, ', ') || '. Connect again now.',
        'No consent that is known to end does so within a week.'
        from bound where (row ->> 'consent_expires_at')::timestamptz < now() + interval '7 days'
    union all
    select case when count(*) > 0 and not private.ran_within('refresh_tokens', interval '30 minutes')
            then 'refresh_tokens has not run well within 30 minutes, and tokens end of: ' || string_agg(name, ', ')
                || '. Start the scheduler, or see why the function fails.' end,
        case when count(*) = 0 then 'No token of its connections ends.' else 'refresh_tokens has run within 30 minutes.' end
        from bound where ends
    union all
    select case when count(*) > 0 then format('%s keys of this environment have no end within a year. Rotate them.', count(*)) end,
        'Every API key of this environment ends within a year.'
        from app.api_keys where tenant_id = p_workflow.tenant_id and environment = p_workflow.environment and revoked_at is null
            and (expires_at is null or expires_at > now() + interval '366 days')
$$;

-- Control 5. As it was; and what is as likely wrong as right is not sure.
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
        from private.granted_tools(p_version.spec) where (granted ->> 'confidence_min')::numeric < 0.5
    union all
    select case when coalesce((p_version.spec ->> 'approval_hours')::integer not between 1 and 720, true)
            then 'approval_hours is not set, or longer than 30 days. Set it.' end,
        format('What waits for a person waits %s hours at most.', p_version.spec ->> 'approval_hours')
    union all
    select case when not private.ran_within('execute_actions', interval '15 minutes')
            then 'execute_actions has not run well within 15 minutes. Start the scheduler, or see why the function fails.' end,
        'execute_actions has run within 15 minutes.'
$$;

-- Control 6. As it was; and what an approver goes by outlives the wait for him.
create or replace function private.readiness_6(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with declared as (select private.text_items(p_version.spec -> 'data_classes') as class),
    tools as (select * from private.granted_tools(p_version.spec) where contract is not null)
    select case when count(*) = 0 then 'No data classes are declared. Say in data_classes what may be read and kept.' end,
        format('It may hold %s data.', string_agg(class, ', ')) from declared
    union all
    select 'Fields of classes that are not declared: ' || string_agg(distinct format('%s of %s (%s)', f, t.name, c), ', ') || '. Declare them, or leave the fields out.',
        'The classes of all fields that are kept are declared.'
        from tools t, private.text_items(t.granted -> 'read_fields') f, unnest(private.classes_of_field(t.contract, f)) c
        where t.granted ->> 'access' = 'read' and c not in (select class from declared)
    union all
    select 'By what they are, arguments carry classes that may not be sent: ' || string_agg(distinct format('%s data to %s', c, t.name), ', ')
            || '. Add them to the data_classes of the tool.',
        'What the arguments of every tool that writes carry may be sent there.'
        from tools t, jsonb_each(coalesce(t.contract -> 'arguments', '{}')) a, private.class_of_role(a.value ->> 'role') c
        where t.granted ->> 'access' = 'write' and c is not null and c not in (select private.text_items(t.granted -> 'data_classes'))
    union all
    select case when coalesce((p_version.spec ->> 'retention_days')::integer not between 1 and 3650, true)
            then 'retention_days is not set. Say how long what was read is kept.' end,
        format('What was read is erased after %s days.', p_version.spec ->> 'retention_days')
    union all
    select case when days * 24 < hours
            then format('Of what was read, some is erased after %s days, while an approval may take %s hours. Keep it longer, or wait shorter (approval_hours).', days, hours) end,
        'What was read outlives the wait for an approval.'
        from (select (p_version.spec ->> 'approval_hours')::numeric as hours, least((p_version.spec ->> 'retention_days')::numeric,
            (select min(value::numeric) from jsonb_each_text(coalesce(nullif(p_version.spec -> 'retention', 'null'), '{}')))) as days) kept
    union all
    select case when not private.ran_within('purge_expired', interval '2 days')
            then 'purge_expired has not run well within two days. Start the scheduler, or see why the function fails.' end,
        'purge_expired has run within two days.'
$$;

revoke all on all functions in schema app, private from public;
grant execute on function private.cooling_off to authenticated;
