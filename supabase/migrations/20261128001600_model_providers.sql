-- Model providers: whom a tenant's workflows may ask to think, under which promises, at what price; and their keys, which are
-- sealed as OAuth tokens are and leave only for one reserved call of a live run (20261128001610_model_calls.sql).

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('models.call', '{}', false, true, false, 'ask a model within a run, with what its budget allows');

-- models: by name {input_price, output_price}, each millionths of a unit of the currency for a million tokens. trains_on_data,
-- retention_days, basis: what the provider promises of the data, and where that is written. generation rises with every key.
create table app.model_providers (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    name text not null check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    kind text not null check (kind in ('anthropic', 'openai')),
    base_url text not null check (base_url ~ '^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$' and length(base_url) <= 300),
    region text check (length(region) between 1 and 100),
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    models jsonb not null check (jsonb_typeof(models) = 'object' and models <> '{}' and octet_length(models::text) <= 20000),
    trains_on_data boolean not null,
    retention_days integer not null check (retention_days between 0 and 3650),
    basis text not null check (length(trim(basis)) between 1 and 2000),
    status text not null default 'active' check (status in ('active', 'revoked')),
    generation integer not null default 1 check (generation > 0),
    secret_id uuid,              -- no foreign key may point at vault.secrets; null once destroyed
    kek_id text,
    wrapping integer not null default 0,
    created_by uuid not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint provider_trains_on_nothing check (not trains_on_data),
    constraint revoked_holds_no_key check (status = 'active' or secret_id is null)
);
create unique index model_providers_by_name on app.model_providers (tenant_id, environment, name) where status = 'active';
create index model_providers_by_time on app.model_providers (tenant_id, created_at desc, id desc);

create function private.model_secret_name(p_provider uuid, p_generation integer, p_wrapping integer) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select 'countersign/model/' || p_provider || '/' || p_generation || case when p_wrapping > 0 then '/' || p_wrapping else '' end
$$;

-- Whoever writes the row: a person of the tenant who may connect, with a second factor. A provider that trains on the data is none;
-- what is revoked stays so; a key goes to the address that it was given for, so another address needs another key.
create function private.guard_model_provider() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_rewrapped boolean;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A model provider is revoked, and its record stays.');
    end if;
    v_rewrapped := tg_op = 'UPDATE' and new.wrapping = old.wrapping + 1 and private.same_sealed(
        (select decrypted_secret from vault.decrypted_secrets where id = old.secret_id),
        (select decrypted_secret from vault.decrypted_secrets where id = new.secret_id))
        and to_jsonb(new) - '{wrapping, secret_id, kek_id, updated_at}'::text[] = to_jsonb(old) - '{wrapping, secret_id, kek_id, updated_at}'::text[];
    v_principal := private.require(case when v_rewrapped then 'connections.maintain' else 'connections.manage' end);
    if v_principal.tenant_id <> new.tenant_id or v_principal.kind <> (case when v_rewrapped then 'system' else 'user' end) then
        perform private.fail(403, 'people_only', 'Only a person of the tenant manages its model providers.');
    elsif new.trains_on_data then
        perform private.fail(422, 'trains_on_data', 'A provider that trains on what it is sent is not used; get a contract in which it does not.');
    elsif tg_op = 'INSERT' and (new.status <> 'active' or new.created_by <> v_principal.id) then
        perform private.fail(409, 'invalid_transition', 'A model provider begins active, in the name of who registers it.');
    elsif exists (select from jsonb_each(new.models) m where length(m.key) not between 1 and 100 or jsonb_typeof(m.value) <> 'object'
        or not coalesce(private.is_price(m.value -> 'input_price') and private.is_price(m.value -> 'output_price'), false)) then
        perform private.fail(422, 'invalid_prices', 'Each model has an input_price and an output_price, in millionths for a million tokens.');
    end if;
    if tg_op = 'UPDATE' then
        if old.status = 'revoked' then
            perform private.fail(409, 'provider_revoked', 'The provider is revoked; register it anew.');
        elsif new.generation not in (old.generation, old.generation + 1)
            or new.generation = old.generation and new.secret_id is distinct from old.secret_id and new.secret_id is not null and not v_rewrapped then
            perform private.fail(409, 'generation_moved', 'A new key is the next generation.');
        elsif new.base_url <> old.base_url and new.generation = old.generation then
            perform private.fail(409, 'key_required', 'Another address needs a new api_key: the old one was given for the old address.');
        end if;
    end if;
    return new;
end
$$;

create function private.is_price(p_value jsonb) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select jsonb_typeof(p_value) = 'number' and p_value::numeric between 0 and 1000000000000 and p_value::numeric = trunc(p_value::numeric)
$$;

create trigger model_providers_guard before insert or update or delete on app.model_providers
    for each row execute function private.guard_model_provider();
create trigger model_providers_keep_columns before update on app.model_providers
    for each row execute function private.keep_columns('base_url', 'region', 'currency', 'models', 'retention_days', 'basis', 'status',
        'generation', 'secret_id', 'kek_id', 'wrapping', 'updated_at');
select private.audit_table('app.model_providers', 'model_provider', 'registered',
    'name kind base_url region currency models trains_on_data retention_days generation', 'basis');

alter table app.model_providers enable row level security;
alter table app.model_providers force row level security;
create policy "members read their tenant's model providers of their environment" on app.model_providers for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select (tenant_id, id, environment, name, kind, base_url, region, currency, models, trains_on_data, retention_days, basis, status,
    generation, created_by, created_at, updated_at) on app.model_providers to authenticated;

-- As it is shown: without anything of the key but which one it is.
create function private.model_provider_document(p_row app.model_providers) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_row.id, 'name', p_row.name, 'kind', p_row.kind, 'environment', p_row.environment,
        'base_url', p_row.base_url, 'region', p_row.region, 'currency', p_row.currency, 'models', p_row.models,
        'declares', jsonb_build_object('trains_on_data', p_row.trains_on_data, 'retention_days', p_row.retention_days, 'basis', p_row.basis),
        'status', p_row.status, 'key_generation', p_row.generation, 'created_by', p_row.created_by,
        'created_at', p_row.created_at, 'updated_at', p_row.updated_at)
$$;

-- Registers a provider with its sealed key.
-- args: {id, name, kind, environment, base_url, region, currency, models, trains_on_data, retention_days, basis, envelope}
create function app.register_model_provider_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('connections.manage');
    v_row app.model_providers;
begin
    perform private.require_environment(v_principal, p_args ->> 'environment');
    if exists (select from app.model_providers where tenant_id = v_principal.tenant_id and environment = p_args ->> 'environment'
        and name = p_args ->> 'name' and status = 'active') then
        perform private.fail(409, 'name_taken', 'There is a model provider of this name in this environment; change it, or take another name.');
    end if;
    insert into app.model_providers (tenant_id, id, environment, name, kind, base_url, region, currency, models, trains_on_data,
        retention_days, basis, created_by, secret_id, kek_id)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, p_args ->> 'environment', p_args ->> 'name', p_args ->> 'kind', p_args ->> 'base_url',
        p_args ->> 'region', p_args ->> 'currency', p_args -> 'models', (p_args ->> 'trains_on_data')::boolean,
        (p_args ->> 'retention_days')::integer, p_args ->> 'basis', v_principal.id,
        vault.create_secret(p_args ->> 'envelope', private.model_secret_name((p_args ->> 'id')::uuid, 1, 0), 'sealed key of a model provider'),
        private.kek_of(p_args ->> 'envelope'))
    returning * into v_row;
    return private.model_provider_document(v_row);
end
$$;

-- Changes what is named; with an envelope, the key, whose old secret is destroyed in the same moment.
-- args: {id, base_url?, region?, currency?, models?, retention_days?, basis?, trains_on_data?, envelope?, generation?}
create function app.change_model_provider_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('connections.manage');
    v_old app.model_providers;
    v_row app.model_providers;
    v_new_key boolean := p_args ->> 'envelope' is not null;
begin
    select * into v_old from app.model_providers where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such model provider.');
    elsif v_old.status <> 'active' then
        perform private.fail(409, 'provider_revoked', 'The provider is revoked; register it anew.');
    elsif v_new_key and (p_args ->> 'generation')::integer is distinct from v_old.generation + 1 then
        perform private.fail(409, 'generation_moved', 'Somebody else has changed the key meanwhile; look again.');
    elsif coalesce((p_args ->> 'trains_on_data')::boolean, false) then
        perform private.fail(422, 'trains_on_data', 'A provider that trains on what it is sent is not used; revoke it.');
    end if;
    update app.model_providers set
        base_url = coalesce(p_args ->> 'base_url', base_url),
        region = case when p_args ? 'region' then p_args ->> 'region' else region end,
        currency = coalesce(p_args ->> 'currency', currency),
        models = coalesce(p_args -> 'models', models),
        retention_days = coalesce((p_args ->> 'retention_days')::integer, retention_days),
        basis = coalesce(p_args ->> 'basis', basis),
        generation = v_old.generation + v_new_key::integer,
        wrapping = case when v_new_key then 0 else wrapping end,
        kek_id = case when v_new_key then private.kek_of(p_args ->> 'envelope') else kek_id end,
        secret_id = case when v_new_key then vault.create_secret(p_args ->> 'envelope',
            private.model_secret_name(v_old.id, v_old.generation + 1, 0), 'sealed key of a model provider') else secret_id end,
        updated_at = now()
        where tenant_id = v_old.tenant_id and id = v_old.id
        returning * into v_row;
    if v_new_key then
        delete from vault.secrets where id = v_old.secret_id;
    end if;
    return private.model_provider_document(v_row);
end
$$;

-- Ends a provider at once: its key is destroyed, and no call begins any more. args: {id}
create function app.revoke_model_provider_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('connections.manage');
    v_row app.model_providers;
    v_secret uuid;
begin
    select * into v_row from app.model_providers where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such model provider.');
    end if;
    if v_row.status = 'active' then
        v_secret := v_row.secret_id;
        update app.model_providers set status = 'revoked', secret_id = null, updated_at = now()
            where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
        delete from vault.secrets where id = v_secret;
    end if;
    return private.model_provider_document(v_row);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.register_model_provider_v1, app.change_model_provider_v1, app.revoke_model_provider_v1 to authenticated;
