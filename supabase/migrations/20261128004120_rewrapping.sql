-- Rotating the key-encryption key wraps anew what else is sealed than the tokens of connections and the keys of runs: the keys of model
-- providers, and the secrets of webhook triggers and of channels. What is handed out to be wrapped is written down.

-- Every time a sealed key or secret left the database to be wrapped anew.
create table app.rewrap_releases (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    environment text check (environment in ('sandbox', 'production')),   -- null: of a channel of both
    model_provider_id uuid,
    webhook_trigger_id uuid,
    generation integer not null check (generation > 0),
    purpose text not null default 'key_rotation' check (purpose = 'key_rotation'),
    at timestamptz not null default clock_timestamp(),
    channel_id uuid,
    primary key (tenant_id, id),
    foreign key (tenant_id, model_provider_id) references app.model_providers (tenant_id, id),
    foreign key (tenant_id, webhook_trigger_id) references app.webhook_triggers (tenant_id, id),
    foreign key (tenant_id, channel_id) references app.channels (tenant_id, id),
    constraint of_one_holder check (num_nonnulls(model_provider_id, webhook_trigger_id, channel_id) = 1
        and (environment is not null or channel_id is not null))
);
create index rewrap_releases_by_provider on app.rewrap_releases (tenant_id, model_provider_id) where model_provider_id is not null;
create index rewrap_releases_by_trigger on app.rewrap_releases (tenant_id, webhook_trigger_id) where webhook_trigger_id is not null;
create index rewrap_releases_by_channel on app.rewrap_releases (tenant_id, channel_id) where channel_id is not null;

-- Whoever writes the row: the scheduled function that rotates keys, in the tenant's name.
create function private.guard_rewrap_release() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
begin
    if v_principal.tenant_id <> new.tenant_id then
        perform private.fail(403, 'permission_denied', 'What is sealed is released in the name of the tenant that it belongs to.');
    end if;
    return new;
end
$$;
create trigger rewrap_releases_guard before insert on app.rewrap_releases
    for each row execute function private.guard_rewrap_release();
select private.audit_table('app.rewrap_releases', 'sealed_key', 'released', 'model_provider_id webhook_trigger_id channel_id generation', 'purpose');
select private.append_only('app.rewrap_releases');
alter table app.rewrap_releases enable row level security;
alter table app.rewrap_releases force row level security;
create policy "members read their tenant's releases for rewrapping of their environment" on app.rewrap_releases for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));
grant select on app.rewrap_releases to authenticated;

-- What is left under each key, and providers whose keys are wrapped under another than the first. No envelope leaves here.
create function app.claim_model_rewraps_v1(p_first text, p_known text[], p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object(
        'left', (select coalesce(jsonb_object_agg(kek, n), '{}') from (
            select coalesce(kek_id, '') as kek, count(*) as n from app.model_providers where secret_id is not null group by 1) c),
        'work', (select coalesce(jsonb_agg(jsonb_build_object('tenant_id', w.tenant_id, 'provider_id', w.id)), '[]') from (
            select tenant_id, id from app.model_providers where secret_id is not null and kek_id <> p_first and kek_id = any (p_known)
            order by random() limit p_limit) w))
$$;

-- Releases the envelope of a key that is to be wrapped under the first key; {claimed: false} when it is already, or gone.
-- args: {provider_id, kek}
create function app.claim_model_rewrap_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_row app.model_providers;
    v_envelope text;
begin
    select * into v_row from app.model_providers where tenant_id = v_principal.tenant_id and id = (p_args ->> 'provider_id')::uuid
        and secret_id is not null and kek_id <> p_args ->> 'kek' for share;
    -- The name binds the secret to the provider and generation it was stored for.
    select decrypted_secret into v_envelope from vault.decrypted_secrets where id = v_row.secret_id
        and name = private.model_secret_name(v_row.id, v_row.generation, v_row.wrapping);
    if v_envelope is null then
        return jsonb_build_object('claimed', false);
    end if;
    insert into app.rewrap_releases (tenant_id, environment, model_provider_id, generation)
    values (v_row.tenant_id, v_row.environment, v_row.id, v_row.generation);
    return jsonb_build_object('claimed', true, 'tenant_id', v_row.tenant_id, 'environment', v_row.environment,
        'generation', v_row.generation, 'envelope', v_envelope);
end
$$;

-- Takes an envelope back under another key, as a new secret; the old secret is destroyed. Stored only if nobody has given another key
-- meanwhile. The guard sees to it that the sealed data is the same. args: {provider_id, generation, envelope}
create function app.store_model_rewrap_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_old app.model_providers;
    v_envelope text := p_args ->> 'envelope';
begin
    select * into v_old from app.model_providers
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'provider_id')::uuid for no key update;
    if not found or v_old.secret_id is null or v_old.generation <> (p_args ->> 'generation')::integer
        or v_old.kek_id is not distinct from private.kek_of(v_envelope) then
        return jsonb_build_object('stored', false);
    end if;
    update app.model_providers set wrapping = v_old.wrapping + 1, kek_id = private.kek_of(v_envelope), updated_at = now(),
        secret_id = vault.create_secret(v_envelope, private.model_secret_name(v_old.id, v_old.generation, v_old.wrapping + 1),
            'sealed key of a model provider')
        where tenant_id = v_old.tenant_id and id = v_old.id;
    delete from vault.secrets where id = v_old.secret_id;
    return jsonb_build_object('stored', true);
end
$$;

-- The sealed secrets of a trigger that is in use: its own, and the one before.
create function private.webhook_secrets(p_row app.webhook_triggers) returns table (generation integer, secret_id uuid, envelope text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select k.generation, k.secret_id, s.decrypted_secret
    from (values (p_row.generation, p_row.secret_id), (p_row.generation - 1, p_row.previous_secret_id)) as k (generation, secret_id)
    join vault.decrypted_secrets s on s.id = k.secret_id
$$;

-- What is left under each key, and secrets that are wrapped under another than the first. No envelope leaves here. Which key it is
-- stands in the envelope alone; a workflow has few addresses, so they are all looked at.
create function app.claim_webhook_rewraps_v1(p_first text, p_known text[], p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with wrapped as materialized (
        select t.tenant_id, t.id, k.generation, coalesce(private.kek_of(k.envelope), '') as kek
        from app.webhook_triggers t cross join lateral private.webhook_secrets(t) k where t.status = 'active'
    )
    select jsonb_build_object(
        'left', (select coalesce(jsonb_object_agg(kek, n), '{}') from (select kek, count(*) as n from wrapped group by kek) c),
        'work', (select coalesce(jsonb_agg(jsonb_build_object('tenant_id', w.tenant_id, 'trigger_id', w.id, 'generation', w.generation)), '[]') from (
            select * from wrapped where kek <> p_first and kek = any (p_known) order by random() limit p_limit) w))
$$;

-- Releases the envelope of a secret to be wrapped under the first key; {claimed: false} when it is already, or gone.
-- args: {trigger_id, generation, kek}
create function app.claim_webhook_rewrap_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_row app.webhook_triggers;
    v_envelope text;
begin
    select * into v_row from app.webhook_triggers
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'trigger_id')::uuid and status = 'active' for share;
    select envelope into v_envelope from private.webhook_secrets(v_row)
        where generation = (p_args ->> 'generation')::integer and private.kek_of(envelope) <> p_args ->> 'kek';
    if v_envelope is null then
        return jsonb_build_object('claimed', false);
    end if;
    insert into app.rewrap_releases (tenant_id, environment, webhook_trigger_id, generation)
    values (v_row.tenant_id, v_row.environment, v_row.id, (p_args ->> 'generation')::integer);
    return jsonb_build_object('claimed', true, 'tenant_id', v_row.tenant_id, 'envelope', v_envelope);
end
$$;

-- Takes an envelope back under another key, as a new secret; the old secret is destroyed. Stored only while this secret is still one
-- of the trigger's. The guard sees to it that the sealed data is the same. args: {trigger_id, generation, envelope}
create function app.store_webhook_rewrap_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_generation integer := (p_args ->> 'generation')::integer;
    v_row app.webhook_triggers;
    v_old uuid;
    v_new uuid;
begin
    select * into v_row from app.webhook_triggers
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'trigger_id')::uuid and status = 'active' for no key update;
    select secret_id into v_old from private.webhook_secrets(v_row)
        where generation = v_generation and private.kek_of(envelope) is distinct from private.kek_of(p_args ->> 'envelope');
    if v_old is null then
        return jsonb_build_object('stored', false);
    end if;
    v_new := vault.create_secret(p_args ->> 'envelope', format('countersign/webhook/%s/%s/%s', v_row.id, v_generation, v_row.wrapping + 1),
        'sealed secret of a webhook trigger');
    update app.webhook_triggers set wrapping = v_row.wrapping + 1, updated_at = now(),
        secret_id = case when v_generation = v_row.generation then v_new else secret_id end,
        previous_secret_id = case when v_generation = v_row.generation then previous_secret_id else v_new end
        where tenant_id = v_row.tenant_id and id = v_row.id;
    delete from vault.secrets where id = v_old;
    return jsonb_build_object('stored', true);
end
$$;

-- The sealed secrets of a channel that is not deleted: its own, and the one before.
create function private.secrets_of_channel(p_row app.channels) returns table (generation integer, secret_id uuid, envelope text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select k.generation, k.secret_id, s.decrypted_secret
    from (values (p_row.generation, p_row.secret_id), (p_row.generation - 1, p_row.previous_secret_id)) as k (generation, secret_id)
    join vault.decrypted_secrets s on s.id = k.secret_id
$$;

-- What is left under each key, and secrets that are wrapped under another than the first. No envelope leaves here.
create function app.claim_channel_rewraps_v1(p_first text, p_known text[], p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with wrapped as materialized (
        select c.tenant_id, c.id, k.generation, coalesce(private.kek_of(k.envelope), '') as kek
        from app.channels c cross join lateral private.secrets_of_channel(c) k where c.secret_id is not null
    )
    select jsonb_build_object(
        'left', (select coalesce(jsonb_object_agg(kek, n), '{}') from (select kek, count(*) as n from wrapped group by kek) c),
        'work', (select coalesce(jsonb_agg(jsonb_build_object('tenant_id', w.tenant_id, 'channel_id', w.id, 'generation', w.generation)), '[]') from (
            select * from wrapped where kek <> p_first and kek = any (p_known) order by random() limit p_limit) w))
$$;

-- Releases the envelope of a secret to be wrapped under the first key; {claimed: false} when it is already, or gone.
-- args: {channel_id, generation, kek}
create function app.claim_channel_rewrap_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_row app.channels;
    v_envelope text;
begin
    select * into v_row from app.channels
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'channel_id')::uuid and status <> 'deleted' for share;
    select envelope into v_envelope from private.secrets_of_channel(v_row)
        where generation = (p_args ->> 'generation')::integer and private.kek_of(envelope) <> p_args ->> 'kek';
    if v_envelope is null then
        return jsonb_build_object('claimed', false);
    end if;
    insert into app.rewrap_releases (tenant_id, environment, channel_id, generation)
    values (v_row.tenant_id, v_row.environment, v_row.id, (p_args ->> 'generation')::integer);
    return jsonb_build_object('claimed', true, 'tenant_id', v_row.tenant_id, 'envelope', v_envelope);
end
$$;

-- Takes an envelope back under another key, as a new secret; the old secret is destroyed. Stored only while this secret is still one
-- of the channel's. The guard sees to it that the sealed data is the same. args: {channel_id, generation, envelope}
create function app.store_channel_rewrap_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_generation integer := (p_args ->> 'generation')::integer;
    v_row app.channels;
    v_old uuid;
    v_new uuid;
begin
    select * into v_row from app.channels
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'channel_id')::uuid and status <> 'deleted' for no key update;
    select secret_id into v_old from private.secrets_of_channel(v_row)
        where generation = v_generation and private.kek_of(envelope) is distinct from private.kek_of(p_args ->> 'envelope');
    if v_old is null then
        return jsonb_build_object('stored', false);
    end if;
    v_new := vault.create_secret(p_args ->> 'envelope', format('countersign/channel/%s/%s/%s', v_row.id, v_generation, v_row.wrapping + 1),
        'sealed secret of a channel');
    update app.channels set wrapping = v_row.wrapping + 1, updated_at = now(),
        secret_id = case when v_generation = v_row.generation then v_new else secret_id end,
        previous_secret_id = case when v_generation = v_row.generation then previous_secret_id else v_new end
        where tenant_id = v_row.tenant_id and id = v_row.id;
    delete from vault.secrets where id = v_old;
    return jsonb_build_object('stored', true);
end
$$;

select private.guard_table('app.rewrap_releases');
revoke all on all functions in schema app, private from public;
grant execute on function app.claim_model_rewraps_v1, app.claim_webhook_rewraps_v1, app.claim_channel_rewraps_v1 to countersign_worker;
grant execute on function app.claim_model_rewrap_v1, app.store_model_rewrap_v1, app.claim_webhook_rewrap_v1, app.store_webhook_rewrap_v1,
    app.claim_channel_rewrap_v1, app.store_channel_rewrap_v1 to authenticated;
