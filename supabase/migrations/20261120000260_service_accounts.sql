-- Service accounts and their keys: issuing, rotating and revoking; the tables are with the tenants.

-- Nobody gives a key what he does not hold himself.
create function private.require_scopes(p_principal private.principal, p_scopes text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not p_scopes <@ array(select permission from private.permissions where service) then
        perform private.fail(422, 'scope_not_grantable', 'A scope is unknown or may be held by people only.');
    elsif not p_scopes <@ p_principal.permissions then
        perform private.fail(403, 'scope_beyond_own', 'A key cannot hold a permission that its issuer does not hold.');
    end if;
end
$$;

create function app.create_service_account_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('service_accounts.manage');
    v_id uuid := (p_args ->> 'id')::uuid;
begin
    insert into app.service_accounts (tenant_id, id, name, description, created_by)
    values (v_principal.tenant_id, v_id, p_args ->> 'name', coalesce(p_args ->> 'description', ''), v_principal.id);
    return jsonb_build_object('id', v_id, 'name', p_args ->> 'name', 'description', coalesce(p_args ->> 'description', ''));
exception when unique_violation then
    perform private.fail(409, 'name_taken', 'There is a service account of this name already.');
end
$$;

-- Issues a key. The secret never reaches the database; only its hash does.
-- args: {id, service_account_id, environment, prefix, secret_hash (hex), scopes, expires_at}
create function app.create_api_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('service_accounts.manage');
begin
    if not exists (select from app.service_accounts where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'service_account_id')::uuid and disabled_at is null) then
        perform private.fail(404, 'not_found', 'There is no such service account.');
    end if;
    perform private.require_scopes(v_principal, array(select jsonb_array_elements_text(p_args -> 'scopes')));
    insert into app.api_keys (tenant_id, id, service_account_id, environment, prefix, secret_hash, scopes, expires_at, created_by)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, (p_args ->> 'service_account_id')::uuid, p_args ->> 'environment',
        p_args ->> 'prefix', decode(p_args ->> 'secret_hash', 'hex'),
        array(select jsonb_array_elements_text(p_args -> 'scopes')), (p_args ->> 'expires_at')::timestamptz, v_principal.id);
    return p_args - 'secret_hash';
end
$$;

-- Replaces a key: the new one works at once, the old one until the grace period ends (0 = not any more).
-- args: {old_id, id, prefix, secret_hash, grace_seconds}
create function app.rotate_api_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('service_accounts.manage');
    v_old app.api_keys;
    v_grace integer := (p_args ->> 'grace_seconds')::integer;
    v_expires_at timestamptz;
begin
    select * into v_old from app.api_keys
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'old_id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such key.');
    elsif v_old.revoked_at is not null or v_old.expires_at <= now() then
        perform private.fail(409, 'key_not_active', 'The key is revoked or expired; issue a new one.');
    end if;
    perform private.require_scopes(v_principal, v_old.scopes);
    v_expires_at := now() + (v_old.expires_at - v_old.created_at);  -- as long as the old one was made for
    insert into app.api_keys (tenant_id, id, service_account_id, environment, prefix, secret_hash, scopes, expires_at, created_by)
    values (v_old.tenant_id, (p_args ->> 'id')::uuid, v_old.service_account_id, v_old.environment, p_args ->> 'prefix',
        decode(p_args ->> 'secret_hash', 'hex'), v_old.scopes, v_expires_at, v_principal.id);
    update app.api_keys set
        expires_at = least(expires_at, now() + make_interval(secs => v_grace)),
        revoked_at = case when v_grace = 0 then now() end
    where tenant_id = v_old.tenant_id and id = v_old.id;
    return (p_args - 'secret_hash') || jsonb_build_object('service_account_id', v_old.service_account_id,
        'environment', v_old.environment, 'scopes', v_old.scopes, 'expires_at', v_expires_at);
end
$$;

create function app.revoke_api_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('service_accounts.manage');
begin
    update app.api_keys set revoked_at = coalesce(revoked_at, now())
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such key.');
    end if;
    return jsonb_build_object('id', p_args ->> 'id', 'revoked', true);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.create_service_account_v1, app.create_api_key_v1, app.rotate_api_key_v1,
    app.revoke_api_key_v1 to authenticated;
