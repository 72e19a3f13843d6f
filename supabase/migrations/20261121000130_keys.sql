-- Keys: when each was used last, what it calls itself, narrowing it, and ending a service account with all of them.

-- One row a key, made with it, so that using one never inserts. What a key does is in the audit log; this says only that
-- it is still in use, for who looks for keys to end: at most once a minute, no event, no new epoch.
create table app.key_uses (
    tenant_id uuid not null references app.tenants,
    key_id uuid not null,
    environment text not null,
    used_at timestamptz,
    primary key (tenant_id, key_id),
    foreign key (tenant_id, key_id) references app.api_keys (tenant_id, id)
) with (fillfactor = 50);

create function private.keep_last_use() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' or new.used_at is null or new.used_at < old.used_at then
        perform private.fail(409, 'append_only', 'The last use of a key is only ever followed by a later one.');
    end if;
    return new;
end
$$;
create trigger key_uses_keep_last before update or delete on app.key_uses
    for each row execute function private.keep_last_use();
create trigger key_uses_keep_columns before update on app.key_uses
    for each row execute function private.keep_columns('used_at');
select private.guard_table('app.key_uses');

alter table app.key_uses enable row level security;
alter table app.key_uses force row level security;
create policy "members read the last use of their tenant's keys of their environment" on app.key_uses for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.key_uses to authenticated;

create function private.expect_uses() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into app.key_uses (tenant_id, key_id, environment) values (new.tenant_id, new.id, new.environment);
    return null;
end
$$;
create trigger api_keys_expect_uses after insert on app.api_keys
    for each row execute function private.expect_uses();
insert into app.key_uses (tenant_id, key_id, environment) select tenant_id, id, environment from app.api_keys;

-- Notes that the calling key is in use, unless that was noted within the last minute. Nobody waits for it: who finds the
-- row taken leaves it to the other. Where nothing can be written (a replica, a transaction of reads only, an isolation
-- level that would refuse to follow somebody else's note) it does nothing. A refused call is rolled back, note and all.
create function private.note_key_use() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_claims jsonb := private.claims();
begin
    if v_claims ->> 'kind' is distinct from 'service' or current_setting('transaction_read_only') = 'on'
        or current_setting('transaction_isolation') <> 'read committed' then
        return;
    end if;
    update app.key_uses set used_at = clock_timestamp()
    where (tenant_id, key_id) = (
        select u.tenant_id, u.key_id
        from app.api_keys k join app.key_uses u on u.tenant_id = k.tenant_id and u.key_id = k.id
        where k.id = (v_claims ->> 'key_id')::uuid and k.secret_hash = decode(v_claims ->> 'key_hash', 'hex')
            and (u.used_at is null or u.used_at < clock_timestamp() - interval '1 minute')
        for no key update of u skip locked);
end
$$;

-- As they were, and each notes that the key is in use, last, so that its row is locked for as short as possible.
create or replace function app.begin_v1(p_claims text, p_permission text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('request.jwt.claims', p_claims, true);
    perform set_config('role', 'authenticated', true);
    perform private.require(p_permission);
    perform private.note_key_use();
end
$$;

create or replace function app.call_v1(p_claims text, p_function text, p_args jsonb, p_key text default null, p_request text default null)
returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_result jsonb;
    v_replayed boolean := false;
begin
    perform set_config('request.jwt.claims', p_claims, true);
    perform set_config('role', 'authenticated', true);
    if p_key is not null then
        v_result := private.find_answer(p_key, p_request);
        v_replayed := v_result is not null;
    end if;
    if not v_replayed then
        execute format('select app.%I($1)', p_function) into v_result using p_args;
        if p_key is not null and v_result -> 'recorded' is distinct from 'false'::jsonb then
            perform private.keep_answer(p_key, p_request, v_result);
        end if;
    end if;
    perform private.note_key_use();
    return jsonb_build_object('result', v_result, 'replayed', v_replayed);
end
$$;

-- As it was, and a key is refused that calls itself by another environment than its own (cs_live, cs_sandbox): whoever
-- reads the word in a setting must be able to rely on it. An application that does not tell the word is not asked.
create or replace function private.current_principal() returns private.principal
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
            and k.environment = coalesce(v_claims ->> 'key_environment', k.environment)
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

-- A key's life and its scopes are only ever cut short: what was revoked, has ended or was taken away does not come back.
create or replace function private.keep_key_ended() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if old.revoked_at is not null and new.revoked_at is distinct from old.revoked_at or new.expires_at > old.expires_at then
        perform private.fail(409, 'key_ended', 'A key is never brought back or prolonged; issue a new one.');
    elsif not new.scopes <@ old.scopes then
        perform private.fail(409, 'key_widened', 'A key never gets another scope; issue a new one.');
    elsif old.issuer_left_at is not null and new.issuer_left_at is distinct from old.issuer_left_at then
        perform private.fail(409, 'immutable_column', 'That the issuer of a key has left stays noted.');
    end if;
    return new;
end
$$;
drop trigger api_keys_keep_columns on app.api_keys;
create trigger api_keys_keep_columns before update on app.api_keys
    for each row execute function private.keep_columns('expires_at', 'revoked_at', 'scopes', 'issuer_left_at');
drop trigger zz_audit_change on app.api_keys;
select private.audit_table('app.api_keys', 'key', 'issued', 'service_account_id prefix scopes expires_at revoked_at issuer_left_at');

-- A service account that was ended stays ended.
create function private.keep_account_ended() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if old.disabled_at is not null and new.disabled_at is distinct from old.disabled_at then
        perform private.fail(409, 'account_ended', 'A service account is never brought back; create a new one.');
    end if;
    return new;
end
$$;
create trigger service_accounts_keep_ended before update on app.service_accounts
    for each row execute function private.keep_account_ended();
select private.guard_table('app.service_accounts');

-- The tenant's service accounts, the newest first, with what there is to know of their keys.
create function app.list_service_accounts_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('service_accounts.read');
begin
    return (select coalesce(jsonb_agg(private.account_answer(a) order by a.created_at desc, a.id desc), '[]')
        from (select * from app.service_accounts where tenant_id = v_principal.tenant_id
            order by created_at desc, id desc limit 500) a);
end
$$;

create function private.account_answer(p_account app.service_accounts) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_account.id, 'name', p_account.name, 'description', p_account.description,
        'created_by', p_account.created_by, 'created_at', p_account.created_at, 'disabled_at', p_account.disabled_at,
        'active_keys', count(*) filter (where active), 'last_used_at', max(used_at),
        'keys_expiring_soon', count(*) filter (where active and expires_at < clock_timestamp() + interval '14 days'))
    from (select k.expires_at, u.used_at, p_account.disabled_at is null and k.revoked_at is null
            and k.expires_at > clock_timestamp() as active
        from app.api_keys k join app.key_uses u on u.tenant_id = k.tenant_id and u.key_id = k.id
        where k.tenant_id = p_account.tenant_id and k.service_account_id = p_account.id) k
$$;

-- The account, locked; CS404 when the tenant has none of this id.
create function private.account_of(p_principal private.principal, p_id uuid) returns app.service_accounts
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_account app.service_accounts;
begin
    perform private.lock_tenant(p_principal.tenant_id, true);
    select * into v_account from app.service_accounts where tenant_id = p_principal.tenant_id and id = p_id for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such service account.');
    end if;
    return v_account;
end
$$;

-- Says what an account is for. args: {id, description}
create function app.describe_service_account_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_account app.service_accounts := private.account_of(private.require('service_accounts.manage'), (p_args ->> 'id')::uuid);
begin
    update app.service_accounts set description = p_args ->> 'description'
    where tenant_id = v_account.tenant_id and id = v_account.id returning * into v_account;
    return private.account_answer(v_account);
end
$$;

-- Ends an account: all its keys stop at once. To end it again changes nothing. args: {id}
create function app.disable_service_account_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_account app.service_accounts := private.account_of(private.require('service_accounts.manage'), (p_args ->> 'id')::uuid);
begin
    if v_account.disabled_at is null then
        update app.service_accounts set disabled_at = clock_timestamp()
        where tenant_id = v_account.tenant_id and id = v_account.id returning * into v_account;
    end if;
    return private.account_answer(v_account);
end
$$;

-- Takes scopes away from a key, at once. args: {id, scopes: those that it keeps}
create function app.narrow_api_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('service_accounts.manage');
    v_key app.api_keys;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    update app.api_keys set scopes = array(select jsonb_array_elements_text(p_args -> 'scopes'))
    where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid returning * into v_key;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such key.');
    end if;
    return jsonb_build_object('id', v_key.id, 'service_account_id', v_key.service_account_id, 'environment', v_key.environment,
        'prefix', v_key.prefix, 'scopes', v_key.scopes, 'expires_at', v_key.expires_at, 'revoked_at', v_key.revoked_at);
end
$$;

-- As it was, but for taking the tenant's lock before the key's row, as the functions above do.
create or replace function app.revoke_api_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('service_accounts.manage');
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    update app.api_keys set revoked_at = coalesce(revoked_at, now())
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such key.');
    end if;
    return jsonb_build_object('id', p_args ->> 'id', 'revoked', true);
end
$$;

-- As it was, and refuses a key whose account has ended.
create or replace function app.rotate_api_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('service_accounts.manage');
    v_old app.api_keys;
    v_grace integer := (p_args ->> 'grace_seconds')::integer;
    v_expires_at timestamptz;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    select * into v_old from app.api_keys
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'old_id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such key.');
    elsif v_old.revoked_at is not null or v_old.expires_at <= now() or exists (select from app.service_accounts
        where tenant_id = v_old.tenant_id and id = v_old.service_account_id and disabled_at is not null) then
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

revoke all on all functions in schema app, private from public;
grant execute on function private.note_key_use to authenticated;
grant execute on function app.list_service_accounts_v1, app.describe_service_account_v1, app.disable_service_account_v1,
    app.narrow_api_key_v1 to authenticated;
