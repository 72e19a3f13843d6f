-- Rotating the key-encryption key, the rest of it: the secrets of webhook triggers are wrapped anew, as all that is sealed is; and
-- what is handed out to be wrapped is written down for these and for the keys of model providers, as it is for tokens.

-- Rises with every rewrapping of either secret, so that no two have one name; what is sealed stays the same.
alter table app.webhook_triggers add column wrapping integer not null default 0;
create or replace trigger webhook_triggers_keep_columns before update on app.webhook_triggers
    for each row execute function private.keep_columns('status', 'generation', 'secret_id', 'previous_secret_id', 'previous_until', 'wrapping',
        'updated_at');

-- Every time a sealed key or secret left the database to be wrapped anew.
create table app.rewrap_releases (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    environment text not null check (environment in ('sandbox', 'production')),
    model_provider_id uuid,
    webhook_trigger_id uuid,
    generation integer not null check (generation > 0),
    purpose text not null default 'key_rotation' check (purpose = 'key_rotation'),
    at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, id),
    foreign key (tenant_id, model_provider_id) references app.model_providers (tenant_id, id),
    foreign key (tenant_id, webhook_trigger_id) references app.webhook_triggers (tenant_id, id),
    constraint of_one_holder check (num_nonnulls(model_provider_id, webhook_trigger_id) = 1)
);
create index rewrap_releases_by_provider on app.rewrap_releases (tenant_id, model_provider_id) where model_provider_id is not null;
create index rewrap_releases_by_trigger on app.rewrap_releases (tenant_id, webhook_trigger_id) where webhook_trigger_id is not null;

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
select private.audit_table('app.rewrap_releases', 'sealed_key', 'released', 'model_provider_id webhook_trigger_id generation', 'purpose');
select private.append_only('app.rewrap_releases');
alter table app.rewrap_releases enable row level security;
alter table app.rewrap_releases force row level security;
create policy "members read their tenant's releases for rewrapping of their environment" on app.rewrap_releases for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.rewrap_releases to authenticated;

-- Whether a secret became another only by being wrapped anew: the same sealed data, or the same secret, or none before and after.
create function private.same_secret(p_old uuid, p_new uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select p_old is not distinct from p_new or coalesce(private.same_sealed(
        (select decrypted_secret from vault.decrypted_secrets where id = p_old),
        (select decrypted_secret from vault.decrypted_secrets where id = p_new)), false)
$$;

-- As it was; and the scheduled function that rotates keys may put a secret that is wrapped anew in the place of the same secret.
create or replace function private.guard_webhook_trigger() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_rewrapped boolean;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A webhook trigger is revoked, and its record stays.');
    end if;
    v_rewrapped := tg_op = 'UPDATE' and new.wrapping = old.wrapping + 1
        and to_jsonb(new) - '{wrapping, secret_id, previous_secret_id, updated_at}'::text[]
            = to_jsonb(old) - '{wrapping, secret_id, previous_secret_id, updated_at}'::text[]
        and private.same_secret(old.secret_id, new.secret_id) and private.same_secret(old.previous_secret_id, new.previous_secret_id);
    v_principal := private.require(case when v_rewrapped then 'connections.maintain' else 'webhooks.manage' end);
    if v_principal.tenant_id <> new.tenant_id or v_principal.kind <> (case when v_rewrapped then 'system' else 'user' end) then
        perform private.fail(403, 'people_only', 'Only a person of the tenant manages its webhook triggers.');
    end if;
    if tg_op = 'INSERT' then
        if new.status <> 'active' or new.generation <> 1 or new.previous_secret_id is not null or new.created_by <> v_principal.id then
            perform private.fail(409, 'invalid_transition', 'A webhook trigger begins active, with one secret, in the name of who creates it.');
        elsif new.environment is distinct from (select environment from app.workflows where tenant_id = new.tenant_id and id = new.workflow_id) then
            perform private.fail(409, 'environment_mismatch', 'A webhook trigger is of its workflow''s environment.');
        end if;
    elsif old.status = 'revoked' then
        perform private.fail(409, 'webhook_revoked', 'The webhook trigger is revoked; create another.');
    elsif v_rewrapped then
        return new;
    elsif new.status = 'active' and (new.generation <> old.generation + 1 or new.secret_id = old.secret_id
        or new.previous_secret_id is not null and new.previous_secret_id <> old.secret_id) then
        perform private.fail(409, 'generation_moved', 'A new secret is the next generation, and only the one before it is good beside it.');
    elsif new.previous_until > clock_timestamp() + interval '7 days 1 minute' then
        perform private.fail(422, 'overlap_too_long', 'The secret before is good for at most seven days more.');
    end if;
    return new;
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

-- As it was, and the release is written down. args: {provider_id, kek}
create or replace function app.claim_model_rewrap_v1(p_args jsonb) returns jsonb
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

select private.guard_table('app.webhook_triggers');
select private.guard_table('app.rewrap_releases');
revoke all on all functions in schema app, private from public;
grant execute on function app.claim_webhook_rewraps_v1 to countersign_worker;
grant execute on function app.claim_webhook_rewrap_v1, app.store_webhook_rewrap_v1, app.claim_model_rewrap_v1 to authenticated;
