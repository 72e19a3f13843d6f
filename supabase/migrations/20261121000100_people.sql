-- People: changing a role, leaving, removing, handing a tenant over; and what a person is told who did not say which tenant.
-- How people come in is in the next file: by invitation, and in no other way.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('tenant.manage', '{owner}', false, false, true, 'rename the tenant, change its settings, hand it over');

-- As it was, but for who is in several tenants and names none: he is told which there are. They are his own, and the
-- claims are those of a verified token, so nobody learns anything of a tenant that he is not in.
create or replace function private.require(p_permission text) returns private.principal
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.current_principal();
begin
    if current_setting('transaction_isolation') <> 'read committed' and current_setting('transaction_read_only') = 'off' then
        perform private.fail(409, 'wrong_isolation', 'Changes are made at READ COMMITTED.');
    end if;
    if v_principal.kind is null then
        perform private.name_the_tenants();
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

-- Raises CS400 with the caller's tenants, as JSON in the error's hint, when a person is in several and names none.
create function private.name_the_tenants() returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_claims jsonb := private.claims();
    v_tenants jsonb;
begin
    if v_claims ->> 'kind' = 'user' and v_claims ->> 'tenant_id' is null then
        select jsonb_agg(jsonb_build_object('tenant_id', t.tenant_id, 'name', t.name, 'role', m.role) order by t.tenant_id)
        into v_tenants
        from app.members m join app.tenants t using (tenant_id) where m.user_id = (v_claims ->> 'sub')::uuid;
        if jsonb_array_length(v_tenants) > 1 then
            raise exception using errcode = 'CS400', detail = 'tenant_required', hint = v_tenants::text,
                message = 'You belong to several tenants; say which one in the header X-Tenant-Id.';
        end if;
    end if;
end
$$;

-- Adding a person by his id is over: who is to join is invited, and joins himself.
drop function app.put_member_v1(jsonb);

-- The keys of a person who leaves go on working: they are the service account's, and what depends on them should not stop
-- because somebody changed jobs. But each of them says so, in its row and in the log, for somebody to rotate it.
alter table app.api_keys add column issuer_left_at timestamptz;
grant select (issuer_left_at) on app.api_keys to authenticated;

create function private.mark_keys_of_leaver() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update app.api_keys set issuer_left_at = clock_timestamp()
    where tenant_id = old.tenant_id and created_by = old.user_id and issuer_left_at is null
        and revoked_at is null and expires_at > clock_timestamp();
    return null;
end
$$;
create trigger members_mark_keys after delete on app.members
    for each row execute function private.mark_keys_of_leaver();
select private.guard_table('app.members');

-- The keys that somebody issued and that still work.
create function private.keys_issued_by(p_tenant uuid, p_user uuid) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('id', k.id, 'service_account_id', k.service_account_id, 'prefix', k.prefix,
        'environment', k.environment, 'expires_at', k.expires_at) order by k.created_at, k.id), '[]')
    from app.api_keys k join app.service_accounts s on s.tenant_id = k.tenant_id and s.id = k.service_account_id
    where k.tenant_id = p_tenant and k.created_by = p_user and s.disabled_at is null
        and k.revoked_at is null and k.expires_at > clock_timestamp()
$$;

-- Takes a person out, whoever asks; answers what he leaves behind.
create function private.end_membership(p_tenant uuid, p_user uuid) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_keys jsonb := private.keys_issued_by(p_tenant, p_user);
begin
    delete from app.members where tenant_id = p_tenant and user_id = p_user;
    return jsonb_build_object('user_id', p_user, 'removed', true, 'keys', v_keys);
end
$$;

-- Removes a person; their tokens lose the tenant with the next statement. args: {user_id}
create or replace function app.remove_member_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_role text;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    v_principal := private.require('members.manage');  -- whoever lost it while he waited
    select role into v_role from app.members
        where tenant_id = v_principal.tenant_id and user_id = (p_args ->> 'user_id')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such member.');
    elsif v_role = 'owner' and v_principal.role <> 'owner' then
        perform private.fail(403, 'owner_required', 'Only an owner can remove an owner.');
    end if;
    return private.end_membership(v_principal.tenant_id, (p_args ->> 'user_id')::uuid);
end
$$;

-- The caller leaves. The last owner hands the tenant over first.
create function app.leave_tenant_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('tenant.read');
begin
    if v_principal.kind <> 'user' then
        perform private.fail(403, 'people_only', 'Only a person can leave.');
    end if;
    perform private.lock_tenant(v_principal.tenant_id, true);
    return private.end_membership(v_principal.tenant_id, v_principal.id);
end
$$;

-- Changes the role of a person who is a member. Only an owner makes or changes owners. args: {user_id, role}
create function app.change_role_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_user uuid := (p_args ->> 'user_id')::uuid;
    v_member app.members;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    v_principal := private.require('members.manage');
    select * into v_member from app.members where tenant_id = v_principal.tenant_id and user_id = v_user;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such member.');
    elsif v_principal.id = v_user then
        perform private.fail(403, 'own_role', 'Nobody changes his own role; another person does.');
    elsif v_principal.role <> 'owner' and 'owner' in (v_member.role, p_args ->> 'role') then
        perform private.fail(403, 'owner_required', 'Only an owner can make or change an owner.');
    end if;
    update app.members set role = p_args ->> 'role' where tenant_id = v_principal.tenant_id and user_id = v_user
    returning * into v_member;
    return jsonb_build_object('user_id', v_member.user_id, 'role', v_member.role, 'email', v_member.email, 'name', v_member.name);
end
$$;

-- Makes a member an owner and the caller something else, both or neither. args: {user_id, keep_role}
create function app.transfer_ownership_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('tenant.manage');
    v_user uuid := (p_args ->> 'user_id')::uuid;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    v_principal := private.require('tenant.manage');
    if v_user = v_principal.id then
        perform private.fail(422, 'own_tenant', 'You are the owner; name another member.');
    elsif p_args ->> 'keep_role' = 'owner' then
        perform private.fail(422, 'role_not_given_up', 'Who hands a tenant over does not stay its owner; make the other one an owner instead.');
    end if;
    update app.members set role = 'owner' where tenant_id = v_principal.tenant_id and user_id = v_user;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such member.');
    end if;
    update app.members set role = coalesce(p_args ->> 'keep_role', 'admin')
        where tenant_id = v_principal.tenant_id and user_id = v_principal.id;
    return jsonb_build_object('owner', v_user, 'user_id', v_principal.id, 'role', coalesce(p_args ->> 'keep_role', 'admin'));
end
$$;

-- Every permission, who holds it, and what it means: private.permissions as it is.
create function app.list_permissions_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.require('tenant.read');
    return (select jsonb_agg(jsonb_build_object('permission', permission, 'roles', roles, 'service', service,
        'system', system, 'aal2', aal2, 'meaning', meaning) order by permission) from private.permissions);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.leave_tenant_v1, app.change_role_v1, app.transfer_ownership_v1,
    app.list_permissions_v1 to authenticated;
