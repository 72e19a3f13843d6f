-- Readiness: the nine controls of a workflow version, each verified by looking and not by declaration. One function a
-- control; every check answers what it found, or what is missing and what to do about it. The guard of reviews asks
-- them too, so that no version goes live past one, whoever changes the row. Nothing is relaxed for the sandbox.

-- The triggers that every table is to have. Tables register when they are guarded (private.guard_table is the last
-- thing that happens to each), so that one that is dropped or switched off later is missed.
create table private.guards (
    relation text not null,
    trigger name not null,
    primary key (relation, trigger)
);
revoke all on private.guards from public;

create or replace function private.guard_table(p_table regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_trigger name;
begin
    if not exists (select from pg_trigger where tgrelid = p_table and tgname = 'refuse_truncate') then
        execute format('create trigger refuse_truncate before truncate on %s '
            'for each statement execute function private.refuse_change()', p_table);
    end if;
    delete from private.guards where relation = p_table::text;
    for v_trigger in select tgname from pg_trigger where tgrelid = p_table and not tgisinternal loop
        execute format('alter table %s enable always trigger %I', p_table, v_trigger);
        insert into private.guards values (p_table::text, v_trigger);
    end loop;
end
$$;
insert into private.guards
    select tgrelid::regclass::text, tgname from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where not tgisinternal and c.relnamespace in ('app'::regnamespace, 'private'::regnamespace) and tgenabled = 'A';

-- Guards that are gone or do not fire for every session, as `table.trigger`.
create function private.guards_off() returns table (relation text, trigger name)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select g.relation, g.trigger from private.guards g
    where not exists (select from pg_trigger t where t.tgrelid = to_regclass(g.relation) and t.tgname = g.trigger and t.tgenabled = 'A')
$$;

-- The tools that a spec grants, with what is in force of each; `contract` is null for one that is not.
create function private.granted_tools(p_spec jsonb)
returns table (name text, granted jsonb, provider text, effect text, contract jsonb, approvals jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select t.key, t.value, c.provider, c.effect, c.contract,
        coalesce(nullif(t.value -> 'approvals', 'null'), p_spec -> 'approvals', '{}')
    from jsonb_each(case when jsonb_typeof(p_spec -> 'tools') = 'object' then p_spec -> 'tools' else '{}' end) t
    left join private.tools_in_force c on c.name = t.key
$$;

-- The connections that a spec binds.
create function private.bound_connections(p_spec jsonb) returns table (provider text, access text, id uuid)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select c.key, a.key, a.value::uuid
    from jsonb_each(case when jsonb_typeof(p_spec -> 'connections') = 'object' then p_spec -> 'connections' else '{}' end) c,
        jsonb_each_text(c.value) a where a.value is not null
$$;

create function private.text_items(p_list jsonb) returns setof text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select jsonb_array_elements_text(case when jsonb_typeof(p_list) = 'array' then p_list else '[]' end)
$$;

-- Whether the pointer lies at or below the pattern; whether something can lie at or below both (api/gate/pointer.py).
create function private.pointer_covers(p_pattern text, p_pointer text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select cardinality(a) <= cardinality(b) and not exists (
        select from generate_subscripts(a, 1) i where a[i] <> '*' and a[i] <> b[i])
    from (select string_to_array('.' || p_pattern, '/') as a, string_to_array('.' || p_pointer, '/') as b) t
$$;
create function private.pointers_meet(p_one text, p_other text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select not exists (select from generate_series(1, least(cardinality(a), cardinality(b))) i
        where a[i] <> b[i] and '*' not in (a[i], b[i]))
    from (select string_to_array('.' || p_one, '/') as a, string_to_array('.' || p_other, '/') as b) t
$$;

-- The classes of everything at or below a field of an answer: the same as classes_of in api/workflows/data_classes.py.
create function private.classes_of_field(p_contract jsonb, p_field text) returns text[]
language sql immutable set search_path = pg_catalog, pg_temp as $$
    with labels as (
        select key as pattern, value as class, cardinality(string_to_array(key, '/')) as depth, private.pointer_covers(key, p_field) as above
        from jsonb_each_text(coalesce(p_contract -> 'output' -> 'data_classes', '{}'))
    ), nearest as (
        select class from labels where above and depth = (select max(depth) from labels where above)
    )
    select array(
        select class from nearest
        union select 'internal' where not exists (select from nearest)
        union select class from labels where not above and private.pointers_meet(pattern, p_field)
        order by 1)
$$;

-- What an argument of a role carries: the same as CLASS_OF_ROLE in api/workflows/data_classes.py.
create function private.class_of_role(p_role text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case p_role when 'account' then 'financial' when 'amount' then 'financial' when 'recipient' then 'personal' end
$$;

-- Control 1. It can do what its spec names, and the database keeps everybody else's rows out of reach.
create function private.readiness_1(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with tools as (select * from private.granted_tools(p_version.spec))
    select case when count(*) = 0 then 'The spec names no tool.'
            when count(*) > count(contract) then format('Not in force: %s. Take them out, or have them published.',
                string_agg(name, ', ') filter (where contract is null)) end,
        format('All %s tools are named one by one and in force.', count(*)) from tools
    union all
    select 'Granted for another access than they have: ' || string_agg(name, ', ') || '. Correct the spec.',
        'Every tool is granted for the access that its contract has.'
        from tools where contract is not null and granted ->> 'access' is distinct from contract ->> 'access'
    union all
    select 'Name the fields to keep, and not the whole answer, for: ' || string_agg(name, ', ') || '.',
        'Every read names the fields that are kept.'
        from tools where granted ->> 'access' = 'read' and (
            not exists (select from private.text_items(granted -> 'read_fields'))
            or exists (select from private.text_items(granted -> 'read_fields') f where f = ''))
    union all
    select 'No connection is bound for: ' || string_agg(t.name, ', ') || '.', 'Every tool has its connection.'
        from tools t where contract is not null and not exists (select from private.bound_connections(p_version.spec) b
            where b.provider = t.provider and b.access = t.granted ->> 'access')
    union all
    select 'A write connection is bound and no tool writes through it: ' || string_agg(b.provider, ', ') || '. Take it out.',
        'No write connection is bound without a tool that writes.'
        from private.bound_connections(p_version.spec) b where b.access = 'write' and not exists (
            select from tools t where t.provider = b.provider and t.granted ->> 'access' = 'write')
    union all
    select 'Row-level security is not enabled and forced on: ' || string_agg(c.relname, ', ') || '. Apply the migrations again.',
        'Row-level security is enabled and forced on every table.'
        from pg_class c where c.relnamespace = 'app'::regnamespace and c.relkind in ('r', 'p')
            and not (c.relrowsecurity and c.relforcerowsecurity)
$$;

-- Control 2. There are people to approve what it asks for, other than those who may not.
create function private.readiness_2(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    -- Who could issue the keys that propose here may not approve for them where duties are separated.
    with issuers as (
        select k.created_by as issuer, s.created_by as maker
        from app.api_keys k join app.service_accounts s on s.tenant_id = k.tenant_id and s.id = k.service_account_id
        where k.tenant_id = p_workflow.tenant_id and k.environment = p_workflow.environment and k.revoked_at is null
            and k.expires_at > now() and 'actions.propose' = any (k.scopes)
            and (private.settings_of(p_workflow.tenant_id)).separation_of_duties
        union select null, null
    ), needs as (
        select t.name, coalesce((t.approvals ->> 'count')::integer, 1) as count,
            (select min(people) from (select count(m.user_id) as people from issuers i left join app.members m
                on m.tenant_id = p_workflow.tenant_id and m.user_id is distinct from i.issuer and m.user_id is distinct from i.maker
                and m.role in (select private.text_items(coalesce(t.approvals -> 'roles', '["owner", "approver"]')))
                and exists (select from private.permissions p where p.permission = 'exceptions.decide' and m.role = any (p.roles))
                group by i.issuer, i.maker) each_key) as people
        from private.granted_tools(p_version.spec) t where t.granted ->> 'access' = 'write'
    )
    select 'Too few people can approve ' || string_agg(format('%s (%s needed, %s there)', name, count, people), ', ')
            || '. Invite more, or ask for fewer approvals.',
        'Every tool that writes has as many people as its approvals ask for.'
        from needs where people < count
    union all
    select case when count(*) = 0 then 'Nobody but the author may approve this version. Invite another approver.' end,
        format('%s people other than the author may approve this version.', count(*))
        from app.members m where m.tenant_id = p_workflow.tenant_id and m.user_id <> p_version.author
            and exists (select from private.permissions p where p.permission = 'workflows.approve' and m.role = any (p.roles))
    union all
    select 'Guards are gone or switched off: ' || string_agg(relation || '.' || trigger, ', ') || '. Apply the migrations again.',
        'The guards of reviews, approvals, exceptions and rules are in place and fire for every session.'
        from private.guards_off() where relation in ('app.workflow_versions', 'app.workflow_reviews', 'app.workflows', 'app.approvals',
            'app.exceptions', 'app.constitution_versions', 'app.members') and trigger <> 'zz_audit_change'
$$;

-- Control 3. What happens is written down, and what was written stands.
create function private.readiness_3(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with head as (select seq, hash from app.audit_heads where tenant_id = p_workflow.tenant_id), events as (
        select e.seq, e.hash, e.hash = sha256(e.prev_hash || convert_to(e.record, 'UTF8'))
            and e.prev_hash = coalesce(lag(e.hash) over w, case when e.seq = 1
                then sha256(convert_to(e.tenant_id::text, 'UTF8')) else e.prev_hash end)
            and e.seq = h.seq - count(*) over () + row_number() over w as holds
        from head h join app.audit_events e on e.tenant_id = p_workflow.tenant_id and e.seq > h.seq - 1000
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
$$;

-- Control 4. Its credentials are there, its own, of this environment, and will not end tomorrow.
create function private.readiness_4(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with bound as (
        select format('%s (%s)', b.provider, b.access) as name, b.provider, b.access, c, to_jsonb(c) as row,
            exists (select from app.credentials k join vault.secrets s on s.id = k.secret_id
                    and s.name = private.secret_name(k.connection_id, k.generation)
                where k.tenant_id = p_workflow.tenant_id and k.connection_id = b.id) as sealed
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
    select case when count(*) > 0 then format('%s keys of this environment have no end within a year. Rotate them.', count(*)) end,
        'Every API key of this environment ends within a year.'
        from app.api_keys where tenant_id = p_workflow.tenant_id and environment = p_workflow.environment and revoked_at is null
            and (expires_at is null or expires_at > now() + interval '366 days')
$$;

-- Control 5. It asks when it is not sure, and nothing waits for ever.
create function private.readiness_5(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select case when coalesce((p_version.spec ->> 'confidence_min')::numeric, 0) <= 0 then 'confidence_min is not set: any claim would do. Set it.' end,
        format('A confidence of %s is asked for.', p_version.spec ->> 'confidence_min')
    union all
    select 'A confidence of 0 is enough for: ' || string_agg(name, ', ') || '. Set confidence_min.', 'No tool does with less than some confidence.'
        from private.granted_tools(p_version.spec) where (granted ->> 'confidence_min')::numeric <= 0
    union all
    select case when coalesce((p_version.spec ->> 'approval_hours')::integer not between 1 and 720, true)
            then 'approval_hours is not set, or longer than 30 days. Set it.' end,
        format('What waits for a person waits %s hours at most.', p_version.spec ->> 'approval_hours')
    union all
    select case when not private.ran_within('execute_actions', interval '15 minutes')
            then 'execute_actions has not run well within 15 minutes. Start the scheduler, or see why the function fails.' end,
        'execute_actions has run within 15 minutes.'
$$;

-- Control 6. What it may know and say is declared, and forgotten in time.
create function private.readiness_6(p_workflow app.workflows, p_version app.workflow_versions)
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
    select case when not private.ran_within('purge_expired', interval '2 days')
            then 'purge_expired has not run well within two days. Start the scheduler, or see why the function fails.' end,
        'purge_expired has run within two days.'
$$;

-- Control 7. What it does can be found out, undone or waited for, and stopped at once.
create function private.readiness_7(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with writes as (select * from private.granted_tools(p_version.spec) where contract is not null and granted ->> 'access' = 'write')
    select 'A lost answer would leave nobody the wiser, nor anybody asked, about: ' || string_agg(name, ', ') || '. Use tools that can be repeated or read back.',
        'Every write can be repeated safely, read back, or waits for a person.'
        from writes where contract ->> 'idempotency' not in ('key', 'natural') and coalesce(jsonb_typeof(contract -> 'read_back'), 'null') = 'null'
            and not private.is_hard_gate(effect)
    union all
    select 'It would do alone what cannot be undone: ' || string_agg(name, ', ')
            || '. Make the workflow supervised, or say irreversible_alone for the tool, so that the reviewer reads it.',
        'What cannot be undone waits for a person, or the spec says that it does not.'
        from writes where not coalesce((contract ->> 'reversible')::boolean, false) and not private.is_hard_gate(effect)
            and p_version.spec ->> 'stage' is distinct from 'supervised' and p_version.spec ->> 'stage' is distinct from 'shadow'
            and not coalesce((granted ->> 'irreversible_alone')::boolean, false)
    union all
    select 'Kill switches cannot name: ' || string_agg(scope, ', ') || '. Apply the migrations again.',
        'Kill switches exist for the tenant, the workflow, its connections, its tools and its agents.'
        from unnest(array['tenant', 'workflow', 'connection', 'tool', 'service_account']) scope
        where not exists (select from pg_constraint where conrelid = 'app.kill_switches'::regclass and contype = 'c'
            and pg_get_constraintdef(oid) like '%scope%''' || scope || '''%')
    union all
    select 'The guards of kill switches are gone or switched off: ' || string_agg(trigger, ', ') || '. Apply the migrations again.',
        'The guards of kill switches are in place.'
        from private.guards_off() where relation = 'app.kill_switches'
$$;

-- Control 8. Somebody answers for it, and somebody is looking.
create function private.readiness_8(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select case when not private.is_member_address(p_workflow.tenant_id, p_version.spec ->> n)
            then format('The %s is no member of this tenant. Name a member by e-mail address.', replace(n, '_', ' ')) end,
        format('The %s is a member: %s.', replace(n, '_', ' '), p_version.spec ->> n)
        from unnest(array['owner', 'escalation_contact']) n
    union all
    select 'A kill switch is engaged over it: ' || string_agg(distinct k.scope || ': ' || left(k.reason, 200), '; ') || '. Release it first, or find out why it is engaged.',
        'No kill switch is engaged over it.'
        from app.kill_switches k where k.tenant_id = p_workflow.tenant_id and k.status = 'engaged' and (
            k.scope = 'tenant' or (k.scope = 'workflow' and k.target = p_workflow.id::text)
            or (k.scope = 'tool' and k.target in (select name from private.granted_tools(p_version.spec)))
            or (k.scope = 'connection' and k.target in (select id::text from private.bound_connections(p_version.spec))))
    union all
    select case when not private.ran_within('expire_exceptions', interval '30 minutes')
            then 'expire_exceptions has not run well within 30 minutes. Start the scheduler, or see why the function fails.' end,
        'expire_exceptions has run within 30 minutes: what nobody decides ends.'
$$;

-- Control 9. What must always wait for a person does.
create function private.readiness_9(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select 'Effects that are no longer hard gates in this database: ' || string_agg(e, ', ') || '. Apply the migrations again.',
        'All ten effects that always wait for a person are hard gates in this database.'
        from unnest(array['destructive', 'bulk', 'money_movement', 'pricing', 'legal', 'employment', 'regulated',
            'permission_change', 'credential_change', 'mass_outbound']) e where not coalesce(private.is_hard_gate(e), false)
    union all
    select 'Guards are gone or switched off: ' || string_agg(relation || '.' || trigger, ', ') || '. Apply the migrations again.',
        'The guards of actions, attempts and contracts are in place and fire for every session.'
        from private.guards_off() where relation in ('app.actions', 'app.attempts', 'app.decisions', 'private.tool_catalog') and trigger <> 'zz_audit_change'
    union all
    select 'No approval is asked for: ' || string_agg(name, ', ') || '. Ask for one at least.',
        format('Hard-gated, and waiting for a person every time: %s.', coalesce((select string_agg(name, ', ' order by name)
            from private.granted_tools(p_version.spec) where private.is_hard_gate(effect)), 'none of its tools'))
        from private.granted_tools(p_version.spec) where private.is_hard_gate(effect) and coalesce((approvals ->> 'count')::integer, 1) < 1
$$;

-- All nine: [{control, verified, evidence: [...], missing: [...]}].
create function private.readiness(p_tenant uuid, p_workflow uuid, p_version integer) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_workflow app.workflows;
    v_version app.workflow_versions;
    v_control jsonb;
    v_controls jsonb := '[]';
begin
    select * into v_workflow from app.workflows where tenant_id = p_tenant and id = p_workflow;
    select * into v_version from app.workflow_versions where tenant_id = p_tenant and workflow_id = p_workflow and version = p_version;
    for v_number in 1..9 loop
        execute format('select jsonb_build_object(''control'', %1$s, ''verified'', count(missing) = 0,
            ''evidence'', coalesce(jsonb_agg(evidence) filter (where missing is null), ''[]''),
            ''missing'', coalesce(jsonb_agg(missing) filter (where missing is not null), ''[]''))
            from private.readiness_%1$s($1, $2)', v_number) into v_control using v_workflow, v_version;
        v_controls := v_controls || v_control;
    end loop;
    return v_controls;
end
$$;

revoke all on all functions in schema app, private from public;
