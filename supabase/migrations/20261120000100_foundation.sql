-- Foundation: schemas, the application's login, who is calling, and the two doors through which
-- the application reaches the database. Tables of the slices follow in their own files.

-- Tables live in app, internals in private. Neither schema is exposed through the Data API.
create schema if not exists app;
create schema if not exists private;

-- Every function below names its search_path with pg_temp last. An empty one would not do: the temporary
-- schema is then searched first for types, and whoever may create a domain `pg_temp.uuid` with a check of
-- his own would run that check as the owner of the function.

-- The application's only login. It owns nothing and inherits nothing: until a transaction names a
-- principal through one of the doors below, it can read no row and call no other function.
-- Its password is set outside of migrations (docs/deploy.md).
do $$
begin
    if not exists (select from pg_roles where rolname = 'countersign_worker') then
        create role countersign_worker nologin noinherit nobypassrls;
    end if;
    if not exists (select from pg_roles where rolname = 'countersign_api') then
        create role countersign_api login noinherit nobypassrls;
    end if;
end
$$;
-- A function must not hang on the database for longer than it may live itself.
alter role countersign_api set statement_timeout = '15s';
alter role countersign_api set lock_timeout = '5s';
alter role countersign_api set idle_in_transaction_session_timeout = '15s';
grant authenticated to countersign_api;
grant countersign_worker to countersign_api;

grant usage on schema app, private to authenticated;
grant usage on schema app to countersign_api, countersign_worker;

-- Errors carry an HTTP status in their SQLSTATE (class CS) and a stable code in their detail;
-- api/errors.py turns them into problem documents.
create function private.fail(p_status integer, p_code text, p_message text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using errcode = 'CS' || p_status, message = p_message, detail = p_code;
end
$$;

-- Roles and permissions: the one table that SQL, the API and the documentation read.
-- `service` and `system` say whether an API key or a scheduled function may hold the permission.
create table private.permissions (
    permission text primary key,
    roles text[] not null,
    service boolean not null default false,
    system boolean not null default false,
    aal2 boolean not null default false,
    meaning text not null,
    -- Invariant 6, out of reach of whoever may only write rows.
    constraint held_by_people_only check (not (service or system) or permission not in
        ('exceptions.decide', 'constitution.publish', 'workflows.approve', 'kill_switches.release', 'actions.requeue')),
    constraint needs_a_second_factor check (aal2 or permission <> 'kill_switches.release')
);

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('tenant.read', '{owner,admin,approver,operator,developer,auditor}', true, true, false, 'see the tenant'),
    ('members.read', '{owner,admin,auditor}', false, false, false, 'list people and their roles'),
    ('members.manage', '{owner,admin}', false, false, true, 'add people, change and remove roles'),
    ('service_accounts.read', '{owner,admin,developer,auditor}', false, false, false, 'list service accounts and keys'),
    ('service_accounts.manage', '{owner,admin,developer}', false, false, true, 'create service accounts; issue, rotate and revoke keys'),
    ('connections.read', '{owner,admin,operator,developer,auditor}', true, true, false, 'list connections'),
    ('connections.manage', '{owner,admin}', false, false, true, 'connect and disconnect provider accounts'),
    ('tools.read', '{owner,admin,approver,operator,developer,auditor}', true, true, false, 'read tool contracts'),
    ('workflows.read', '{owner,admin,approver,operator,developer,auditor}', true, true, false, 'read workflows and their access specs'),
    ('workflows.write', '{owner,admin,developer}', false, false, false, 'write and submit workflow versions'),
    ('workflows.approve', '{owner,admin,approver}', false, false, true, 'approve a version written by somebody else'),
    ('constitution.read', '{owner,admin,approver,operator,developer,auditor}', true, true, false, 'read the constitution'),
    ('constitution.publish', '{owner,admin}', false, false, true, 'publish a constitution'),
    ('kill_switches.read', '{owner,admin,approver,operator,developer,auditor}', true, true, false, 'see what is stopped'),
    ('kill_switches.engage', '{owner,admin,approver,operator,developer}', true, true, false, 'stop something, at once'),
    ('kill_switches.release', '{owner,admin}', false, false, true, 'let something run again'),
    ('runs.read', '{owner,admin,approver,operator,developer,auditor}', true, true, false, 'read runs and observations'),
    ('runs.write', '{owner,admin,operator}', true, true, false, 'start runs and observe through the gateway'),
    ('actions.read', '{owner,admin,approver,operator,developer,auditor}', true, true, false, 'read actions and decisions'),
    ('actions.propose', '{owner,admin,operator}', true, true, false, 'propose actions'),
    ('actions.cancel', '{owner,admin,approver,operator}', true, false, false, 'cancel what has not started'),
    ('actions.reconcile', '{owner,admin,approver}', false, true, true, 'close an action whose outcome is unknown'),
    ('actions.requeue', '{owner,admin,approver}', false, false, false, 'take an action out of the dead-letter queue'),
    ('actions.execute', '{}', false, true, false, 'claim and finish attempts'),
    ('exceptions.read', '{owner,admin,approver,operator,auditor}', true, true, false, 'read the exception queue'),
    ('exceptions.decide', '{owner,approver}', false, false, false, 'approve, reject, edit or answer exceptions'),
    ('exceptions.expire', '{}', false, true, false, 'expire what nobody decided in time'),
    ('audit.read', '{owner,admin,auditor}', true, true, false, 'search, verify and export the audit log');
revoke all on private.permissions from public;

-- The claims of the current transaction. A finished transaction leaves '' behind, not null.
create function private.claims() returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select nullif(current_setting('request.jwt.claims', true), '')::jsonb
$$;

-- Whoever acts, as the database itself knows them.
create type private.principal as (
    kind text,              -- user | service | system
    id uuid,                -- user id, service account id; null for system
    tenant_id uuid,
    role text,              -- of a user
    environment text,       -- of an API key; null means every environment
    aal text,               -- of a user's session: aal1 | aal2
    key_id uuid,            -- of a service account
    session_id text,
    permissions text[]
);

-- Versions of functions that change rows are public (app.*_v1) and take one JSON document; they
-- run as their owner, so each begins by asking for a permission with this function.
-- Errors: CS401 nobody valid is calling, CS403 the permission is missing or needs aal2, CS409 a change is tried in
-- an isolation level whose snapshot would hide that the caller was revoked meanwhile.
create function private.require(p_permission text) returns private.principal
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.current_principal();
begin
    if current_setting('transaction_isolation') <> 'read committed' and current_setting('transaction_read_only') = 'off' then
        perform private.fail(409, 'wrong_isolation', 'Changes are made at READ COMMITTED.');
    end if;
    if v_principal.kind is null then
        perform private.fail(401, 'unauthenticated', 'The credential is missing, expired, revoked or not valid for this tenant.');
    end if;
    if not p_permission = any (v_principal.permissions) then
        perform private.fail(403, 'permission_denied', format('This needs the permission %s.', p_permission));
    end if;
    if v_principal.kind = 'user' and v_principal.aal is distinct from 'aal2'
        and (select aal2 from private.permissions where permission = p_permission) then
        perform private.fail(403, 'aal2_required', 'This needs a session with a second factor (aal2).');
    end if;
    return v_principal;
end
$$;

-- A key of one environment can neither see nor touch the other's rows.
create function private.require_environment(p_principal private.principal, p_environment text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p_principal.environment is not null and p_principal.environment is distinct from p_environment then
        perform private.fail(403, 'wrong_environment', format(
            'This key is for %s; the target is in %s.', p_principal.environment, p_environment));
    end if;
end
$$;

-- Changes that the gate depends on take this lock alone, decisions and claims share it: whichever
-- commits first is seen by the other. Only READ COMMITTED sees what was committed while it waited.
create function private.lock_tenant(p_tenant uuid, p_exclusive boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        perform private.fail(409, 'wrong_isolation', 'Decisions and claims run at READ COMMITTED.');
    end if;
    if p_exclusive then
        perform pg_advisory_xact_lock(hashtextextended(p_tenant::text, 20261120));
    else
        perform pg_advisory_xact_lock_shared(hashtextextended(p_tenant::text, 20261120));
    end if;
end
$$;

-- Append-only tables refuse change, for their owner too (section 4, invariant 2).
create function private.refuse_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using errcode = 'CS409', detail = 'append_only',
        message = format('%s.%s is append-only: %s is refused.', tg_table_schema, tg_table_name, tg_op);
end
$$;

-- Rows that live on change in their named columns only. Arguments: the columns that may change.
create function private.keep_columns() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if (to_jsonb(new) - tg_argv) is distinct from (to_jsonb(old) - tg_argv) then
        raise exception using errcode = 'CS409', detail = 'immutable_column',
            message = format('Only %s of %s.%s may change.', array_to_string(tg_argv, ', '), tg_table_schema, tg_table_name);
    end if;
    return new;
end
$$;

-- Makes the guards of a table hold for every session, also one that replays changes as a replica (which a hosted
-- project's `postgres` may set), and refuses TRUNCATE, which no row's trigger would see. Every table ends with this.
create function private.guard_table(p_table regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_trigger name;
begin
    if not exists (select from pg_trigger where tgrelid = p_table and tgname = 'refuse_truncate') then
        execute format('create trigger refuse_truncate before truncate on %s '
            'for each statement execute function private.refuse_change()', p_table);
    end if;
    for v_trigger in select tgname from pg_trigger where tgrelid = p_table and not tgisinternal loop
        execute format('alter table %s enable always trigger %I', p_table, v_trigger);
    end loop;
end
$$;

-- Makes a table refuse UPDATE, DELETE and TRUNCATE, for its owner too (invariant 2).
create function private.append_only(p_table regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('create trigger refuse_change before update or delete on %s '
        'for each row execute function private.refuse_change()', p_table);
    perform private.guard_table(p_table);
end
$$;

-- Door one: a transaction of reads. Sets role and claims and asks for the permission in one statement.
create function app.begin_v1(p_claims text, p_permission text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('request.jwt.claims', p_claims, true);
    perform set_config('role', 'authenticated', true);
    perform private.require(p_permission);
end
$$;

-- Door two, the hot path: one statement that names the principal and calls one function as
-- `authenticated`. With p_key the call is idempotent for ever (invariant 10): the same principal,
-- key and request give the stored answer, another request under the key is refused with CS422.
-- A function that wrote nothing says so with {"recorded": false}; such an answer is not stored.
create function app.call_v1(p_claims text, p_function text, p_args jsonb, p_key text default null, p_request text default null)
returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_result jsonb;
begin
    perform set_config('request.jwt.claims', p_claims, true);
    perform set_config('role', 'authenticated', true);
    if p_key is not null then
        v_result := private.find_answer(p_key, p_request);
        if v_result is not null then
            return jsonb_build_object('result', v_result, 'replayed', true);
        end if;
    end if;
    execute format('select app.%I($1)', p_function) into v_result using p_args;
    if p_key is not null and v_result -> 'recorded' is distinct from 'false'::jsonb then
        perform private.keep_answer(p_key, p_request, v_result);
    end if;
    return jsonb_build_object('result', v_result, 'replayed', false);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.begin_v1, app.call_v1 to countersign_api;
grant execute on function private.claims, private.fail to authenticated;
grant execute on function private.require to authenticated;
