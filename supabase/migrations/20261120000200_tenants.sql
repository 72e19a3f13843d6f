-- Tenants, members, service accounts, API keys: who may act, and in which tenant.

create table app.tenants (
    tenant_id uuid primary key,
    name text not null check (length(name) between 1 and 200),
    -- Raised by every change that could alter a verdict; a decision is recorded under the epoch it saw.
    control_epoch bigint not null default 1,
    created_at timestamptz not null default now()
);

create table app.members (
    tenant_id uuid not null references app.tenants,
    user_id uuid not null,
    role text not null check (role in ('owner', 'admin', 'approver', 'operator', 'developer', 'auditor')),
    email text not null check (length(email) between 3 and 320),
    name text not null default '' check (length(name) <= 200),
    created_at timestamptz not null default now(),
    primary key (tenant_id, user_id)
);
create index members_by_user on app.members (user_id);

create table app.service_accounts (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    description text not null default '' check (length(description) <= 2000),
    created_by uuid not null,
    disabled_at timestamptz,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name)
);

-- A key is stored as the SHA-256 of its 256 random bits; the prefix is shown so that people can tell keys apart.
create table app.api_keys (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    service_account_id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    prefix text not null,
    secret_hash bytea not null check (length(secret_hash) = 32),
    scopes text[] not null check (cardinality(scopes) between 1 and 50),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    created_by uuid not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (id),
    foreign key (tenant_id, service_account_id) references app.service_accounts (tenant_id, id)
);
create index api_keys_by_service_account on app.api_keys (tenant_id, service_account_id);

-- Who is calling, true to the database and not only to the token: a user must be a member now, a key
-- must be active now. All null when nobody valid is calling.
create function private.current_principal() returns private.principal
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_claims jsonb := private.claims();
    v_principal private.principal;
begin
    if v_claims ->> 'kind' = 'user' then
        select 'user', m.user_id, m.tenant_id, m.role, null, v_claims ->> 'aal', null, v_claims ->> 'session_id',
            (select array_agg(p.permission) from private.permissions p where m.role = any (p.roles))
        into v_principal
        from app.members m
        where m.user_id = (v_claims ->> 'sub')::uuid and m.tenant_id = coalesce((v_claims ->> 'tenant_id')::uuid,
            -- Who belongs to one tenant only need not name it.
            (select min(o.tenant_id::text)::uuid from app.members o where o.user_id = m.user_id having count(*) = 1));
    elsif v_claims ->> 'kind' = 'service' then
        select 'service', k.service_account_id, k.tenant_id, null, k.environment, null, k.id, null,
            (select array_agg(p.permission) from private.permissions p where p.service and p.permission = any (k.scopes))
        into v_principal
        from app.api_keys k
        join app.service_accounts s on s.tenant_id = k.tenant_id and s.id = k.service_account_id
        where k.id = (v_claims ->> 'key_id')::uuid
            and k.secret_hash = decode(v_claims ->> 'key_hash', 'hex')
            and k.revoked_at is null and k.expires_at > clock_timestamp() and s.disabled_at is null;
    elsif v_claims ->> 'kind' = 'system' then
        select 'system', null, t.tenant_id, null, null, null, null, null,
            (select array_agg(p.permission) from private.permissions p where p.system)
        into v_principal
        from app.tenants t where t.tenant_id = (v_claims ->> 'tenant_id')::uuid;
    end if;
    return v_principal;
end
$$;

-- What row-level security compares with: one scalar, verified once per statement.
create function private.current_tenant() returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select (private.current_principal()).tenant_id
$$;

-- The environment an API key is confined to; null for people and scheduled functions.
create function private.current_environment() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select (private.current_principal()).environment
$$;

-- Every change that could alter a verdict raises the tenant's epoch, after waiting for decisions in flight.
create function private.raise_epoch() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_tenant uuid := case when tg_op = 'DELETE' then old.tenant_id else new.tenant_id end;
begin
    perform private.lock_tenant(v_tenant, true);
    update app.tenants set control_epoch = control_epoch + 1 where tenant_id = v_tenant;
    return null;
end
$$;

-- The epoch only rises: a decision made on facts that are over stays refused. A tenant stays what its rows point to.
create function private.guard_tenant() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A tenant is never deleted.');
    elsif new.control_epoch < old.control_epoch then
        perform private.fail(409, 'epoch_fell', 'The control epoch only rises.');
    end if;
    return new;
end
$$;
create trigger tenants_guard before update or delete on app.tenants
    for each row execute function private.guard_tenant();
create trigger tenants_keep_columns before update on app.tenants
    for each row execute function private.keep_columns('name', 'control_epoch');
create trigger members_keep_columns before update on app.members
    for each row execute function private.keep_columns('role', 'email', 'name');
create trigger service_accounts_keep_columns before update on app.service_accounts
    for each row execute function private.keep_columns('name', 'description', 'disabled_at');
create trigger members_raise_epoch after insert or update or delete on app.members
    for each row execute function private.raise_epoch();
create trigger service_accounts_raise_epoch after update or delete on app.service_accounts
    for each row execute function private.raise_epoch();
create trigger api_keys_raise_epoch after insert or update or delete on app.api_keys
    for each row execute function private.raise_epoch();
create trigger api_keys_keep_columns before update on app.api_keys
    for each row execute function private.keep_columns('expires_at', 'revoked_at');

-- A key's life is only ever cut short: what was revoked or has ended does not come back.
create function private.keep_key_ended() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if old.revoked_at is not null and new.revoked_at is distinct from old.revoked_at or new.expires_at > old.expires_at then
        perform private.fail(409, 'key_ended', 'A key is never brought back or prolonged; issue a new one.');
    end if;
    return new;
end
$$;
create trigger api_keys_keep_ended before update on app.api_keys
    for each row execute function private.keep_key_ended();

-- A key never holds a permission that only people may hold, whoever writes the row.
create function private.check_key_scopes() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from unnest(new.scopes) s where s not in (select permission from private.permissions where service)) then
        perform private.fail(422, 'scope_not_grantable', 'A scope is unknown or may be held by people only.');
    end if;
    return new;
end
$$;
create trigger api_keys_check_scopes before insert on app.api_keys
    for each row execute function private.check_key_scopes();

-- The tenant always keeps an owner.
create function private.keep_an_owner() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.lock_tenant(old.tenant_id, true);
    if old.role = 'owner' and not exists (
        select from app.members where tenant_id = old.tenant_id and role = 'owner' and user_id <> old.user_id)
        and (tg_op = 'DELETE' or new.role <> 'owner') then
        perform private.fail(409, 'last_owner', 'The last owner cannot leave or lose the role.');
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;
create trigger members_keep_an_owner before update or delete on app.members
    for each row execute function private.keep_an_owner();

-- Row-level security. Reads are open to the tenant; writes go through the functions below.
alter table app.tenants enable row level security;
alter table app.tenants force row level security;
alter table app.members enable row level security;
alter table app.members force row level security;
alter table app.service_accounts enable row level security;
alter table app.service_accounts force row level security;
alter table app.api_keys enable row level security;
alter table app.api_keys force row level security;

create policy "members read their tenant" on app.tenants for select to authenticated
    using (tenant_id = (select private.current_tenant()));
create policy "members read their tenant's members" on app.members for select to authenticated
    using (tenant_id = (select private.current_tenant()));
create policy "members read their tenant's service accounts" on app.service_accounts for select to authenticated
    using (tenant_id = (select private.current_tenant()));
create policy "members read their tenant's keys of their environment" on app.api_keys for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));

grant select on app.tenants, app.members, app.service_accounts to authenticated;
-- The hash stays unreadable: a key could otherwise be replayed by whoever can read the table.
grant select (tenant_id, id, service_account_id, environment, prefix, scopes, expires_at, revoked_at, created_by, created_at)
    on app.api_keys to authenticated;

-- Creates a tenant; the person who calls becomes its owner.
-- args: {id, name, user_name, email, constitution: {rules, reason}}
create function app.create_tenant_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_claims jsonb := private.claims();
    v_tenant uuid := (p_args ->> 'id')::uuid;
begin
    if v_claims ->> 'kind' is distinct from 'user' then
        perform private.fail(403, 'people_only', 'Only a person can create a tenant.');
    end if;
    -- The id is derived from person and idempotency key: the same request again finds its own tenant, and one
    -- that comes at the same moment waits for it.
    perform pg_advisory_xact_lock(hashtextextended(v_tenant::text, 20261121));
    if exists (select from app.tenants where tenant_id = v_tenant) then
        if not exists (select from app.tenants t join app.members m using (tenant_id)
            where t.tenant_id = v_tenant and m.user_id = (v_claims ->> 'sub')::uuid and t.name = p_args ->> 'name') then
            perform private.fail(422, 'idempotency_key_reused', 'This Idempotency-Key was used with another request.');
        end if;
        return jsonb_build_object('id', v_tenant, 'name', p_args ->> 'name', 'role', 'owner', 'replayed', true);
    end if;
    insert into app.tenants (tenant_id, name) values (v_tenant, p_args ->> 'name');
    insert into app.members (tenant_id, user_id, role, email, name)
    values (v_tenant, (v_claims ->> 'sub')::uuid, 'owner', p_args ->> 'email', coalesce(p_args ->> 'user_name', ''));
    insert into app.constitution_versions (tenant_id, version, rules, reason, published_by)
    values (v_tenant, 1, p_args -> 'constitution' -> 'rules', p_args -> 'constitution' ->> 'reason', (v_claims ->> 'sub')::uuid);
    return jsonb_build_object('id', v_tenant, 'name', p_args ->> 'name', 'role', 'owner');
end
$$;

-- The tenants that the calling person belongs to.
create function app.list_tenants_v1(p_args jsonb) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('id', t.tenant_id, 'name', t.name, 'role', m.role) order by t.tenant_id), '[]')
    from app.members m join app.tenants t using (tenant_id)
    where private.claims() ->> 'kind' = 'user' and m.user_id = (private.claims() ->> 'sub')::uuid
$$;

-- The principal as the database sees it.
create function app.me_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('tenant.read');
begin
    return jsonb_build_object(
        'kind', v_principal.kind, 'id', v_principal.id, 'role', v_principal.role, 'aal', v_principal.aal,
        'environment', v_principal.environment, 'key_id', v_principal.key_id, 'permissions', v_principal.permissions,
        'tenant', (select jsonb_build_object('id', tenant_id, 'name', name) from app.tenants where tenant_id = v_principal.tenant_id),
        'name', (select name from app.members where tenant_id = v_principal.tenant_id and user_id = v_principal.id),
        'email', (select email from app.members where tenant_id = v_principal.tenant_id and user_id = v_principal.id));
end
$$;

-- Adds a person to the tenant, or changes the role they have. Only an owner makes owners.
-- args: {user_id, role, email, name}
create function app.put_member_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_member app.members;
begin
    if v_principal.id = (p_args ->> 'user_id')::uuid then
        perform private.fail(403, 'own_role', 'Nobody changes his own role; another person does.');
    end if;
    if v_principal.role <> 'owner' and (p_args ->> 'role' = 'owner' or exists (
        select from app.members where tenant_id = v_principal.tenant_id
            and user_id = (p_args ->> 'user_id')::uuid and role = 'owner')) then
        perform private.fail(403, 'owner_required', 'Only an owner can make or change an owner.');
    end if;
    insert into app.members (tenant_id, user_id, role, email, name)
    values (v_principal.tenant_id, (p_args ->> 'user_id')::uuid, p_args ->> 'role', p_args ->> 'email', coalesce(p_args ->> 'name', ''))
    on conflict (tenant_id, user_id) do update set role = excluded.role
    returning * into v_member;
    return jsonb_build_object('user_id', v_member.user_id, 'role', v_member.role, 'email', v_member.email, 'name', v_member.name);
end
$$;

-- Removes a person; their tokens lose the tenant with the next statement.
create function app.remove_member_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_role text;
begin
    select role into v_role from app.members
        where tenant_id = v_principal.tenant_id and user_id = (p_args ->> 'user_id')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such member.');
    end if;
    if v_role = 'owner' and v_principal.role <> 'owner' then
        perform private.fail(403, 'owner_required', 'Only an owner can remove an owner.');
    end if;
    delete from app.members where tenant_id = v_principal.tenant_id and user_id = (p_args ->> 'user_id')::uuid;
    return jsonb_build_object('user_id', p_args ->> 'user_id', 'removed', true);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function private.current_principal, private.current_tenant, private.current_environment,
    private.require_environment to authenticated;
grant execute on function app.create_tenant_v1, app.list_tenants_v1, app.me_v1, app.put_member_v1,
    app.remove_member_v1 to authenticated;
