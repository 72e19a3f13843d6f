-- Tool contracts. Those of providers come from the manifests and are published by whoever deploys
-- (python -m scripts.publish_tools), as the owner of the schema: the application's login cannot
-- change what a tool is said to do. A contract is immutable; a change is a new version.

create table private.tool_catalog (
    name text not null,
    version integer not null check (version > 0),
    provider text not null,
    access text not null check (access in ('read', 'write')),
    effect text not null check (effect in ('read', 'write', 'outbound_message', 'mass_outbound', 'money_movement', 'pricing',
        'destructive', 'bulk', 'legal', 'employment', 'regulated', 'permission_change', 'credential_change')),
    contract jsonb not null,
    published_at timestamptz not null default now(),
    primary key (name, version),
    check (access = 'write' or effect = 'read'),
    check (access = 'read' or effect <> 'read'),
    -- The document that the gate reads says what the columns say that the database reads.
    check (contract ->> 'name' = name and contract ->> 'access' = access and contract ->> 'effect' = effect)
);
revoke all on private.tool_catalog from public;

-- The effects that always wait for a human (control 9). No row, rule or setting changes this list.
create function private.is_hard_gate(p_effect text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select p_effect in ('destructive', 'bulk', 'money_movement', 'pricing', 'legal', 'employment', 'regulated',
        'permission_change', 'credential_change', 'mass_outbound')
$$;

-- A later version of a tool cannot lift its hard gate, nor the second factor that money needs.
create function private.keep_hard_gate() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from private.tool_catalog where name = new.name and private.is_hard_gate(effect)
        and new.effect not in (effect, 'money_movement')) then
        perform private.fail(409, 'hard_gate_lifted', format('%s is a hard gate and stays one; give the new tool a new name.', new.name));
    end if;
    return new;
end
$$;
create trigger tool_catalog_keep_hard_gate before insert on private.tool_catalog
    for each row execute function private.keep_hard_gate();

-- A new version of a contract can alter any tenant's verdicts.
create function private.raise_every_epoch() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_tenant uuid;
begin
    for v_tenant in select tenant_id from app.tenants order by tenant_id loop
        perform private.lock_tenant(v_tenant, true);
    end loop;
    update app.tenants set control_epoch = control_epoch + 1;
    return null;
end
$$;
create trigger tool_catalog_raise_every_epoch after insert on private.tool_catalog
    for each statement execute function private.raise_every_epoch();
select private.append_only('private.tool_catalog');

-- Contracts in force: the newest version of each tool.
create view private.tools_in_force with (security_invoker = true) as
    select distinct on (name) name, version, provider, access, effect, contract
    from private.tool_catalog order by name, version desc;
revoke all on private.tools_in_force from public;

create function app.list_tools_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('tools.read');
begin
    return (select coalesce(jsonb_agg(contract || jsonb_build_object('version', version) order by name), '[]')
        from private.tools_in_force
        where name = coalesce(p_args ->> 'name', name));
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.list_tools_v1 to authenticated;
