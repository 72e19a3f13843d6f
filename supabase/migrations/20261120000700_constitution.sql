-- The constitution: a tenant's numbered sets of rules, immutable once published. The newest is in force.

create table app.constitution_versions (
    tenant_id uuid not null references app.tenants,
    version integer not null check (version > 0),
    rules jsonb not null check (jsonb_typeof(rules) = 'array'),
    reason text not null check (length(reason) between 1 and 2000),
    published_by uuid not null,
    published_at timestamptz not null default now(),
    primary key (tenant_id, version)
);
create trigger constitution_versions_raise_epoch after insert on app.constitution_versions
    for each row execute function private.raise_epoch();

-- Only a person publishes a constitution, whoever writes the row (invariant 6).
create function private.guard_constitution() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
begin
    -- The first version comes with the tenant, whose creator is already its owner.
    v_principal := case when new.version = 1 then private.current_member(new.tenant_id)
        else private.require('constitution.publish') end;
    if v_principal.kind is distinct from 'user' or v_principal.tenant_id <> new.tenant_id or v_principal.id <> new.published_by then
        perform private.fail(403, 'people_only', 'Only a person of the tenant publishes its constitution.');
    end if;
    return new;
end
$$;
create trigger constitution_versions_guard before insert on app.constitution_versions
    for each row execute function private.guard_constitution();

-- The calling person as an owner of the named tenant; needed while a tenant is being created, when the
-- claims cannot name it yet.
create function private.current_member(p_tenant uuid) returns private.principal
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select row('user', m.user_id, m.tenant_id, m.role, null, null, null, null, '{}'::text[])::private.principal
    from app.members m
    where private.claims() ->> 'kind' = 'user' and m.tenant_id = p_tenant
        and m.user_id = (private.claims() ->> 'sub')::uuid and m.role = 'owner'
$$;

select private.audit_table('app.constitution_versions', 'constitution', 'published', 'version published_by', 'reason');
select private.append_only('app.constitution_versions');

alter table app.constitution_versions enable row level security;
alter table app.constitution_versions force row level security;
create policy "members read their tenant's constitution" on app.constitution_versions for select to authenticated
    using (tenant_id = (select private.current_tenant()));
grant select on app.constitution_versions to authenticated;

-- Publishes the next version. args: {rules, reason, expected_version}
create function app.publish_constitution_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('constitution.publish');
    v_version integer;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    select max(version) into v_version from app.constitution_versions where tenant_id = v_principal.tenant_id;
    if v_version <> (p_args ->> 'expected_version')::integer then
        perform private.fail(412, 'version_moved', format('The constitution in force is version %s.', v_version));
    end if;
    insert into app.constitution_versions (tenant_id, version, rules, reason, published_by)
    values (v_principal.tenant_id, v_version + 1, p_args -> 'rules', p_args ->> 'reason', v_principal.id);
    return jsonb_build_object('version', v_version + 1, 'rules', p_args -> 'rules', 'reason', p_args ->> 'reason');
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.publish_constitution_v1 to authenticated;
