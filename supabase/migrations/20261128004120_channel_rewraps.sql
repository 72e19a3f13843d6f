-- Rotating the key-encryption key wraps the secrets of channels anew, as it does those of webhook triggers.

-- A channel may be of both environments, and so is what is released of it.
alter table app.rewrap_releases add column channel_id uuid;
alter table app.rewrap_releases alter column environment drop not null;
alter table app.rewrap_releases add foreign key (tenant_id, channel_id) references app.channels (tenant_id, id);
alter table app.rewrap_releases drop constraint of_one_holder;
alter table app.rewrap_releases add constraint of_one_holder
    check (num_nonnulls(model_provider_id, webhook_trigger_id, channel_id) = 1 and (environment is not null or channel_id is not null));
create index rewrap_releases_by_channel on app.rewrap_releases (tenant_id, channel_id) where channel_id is not null;
drop trigger zz_audit_change on app.rewrap_releases;
select private.audit_table('app.rewrap_releases', 'sealed_key', 'released', 'model_provider_id webhook_trigger_id channel_id generation', 'purpose');
drop policy "members read their tenant's releases for rewrapping of their environment" on app.rewrap_releases;
create policy "members read their tenant's releases for rewrapping of their environment" on app.rewrap_releases for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));

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
grant execute on function app.claim_channel_rewraps_v1 to countersign_worker;
grant execute on function app.claim_channel_rewrap_v1, app.store_channel_rewrap_v1 to authenticated;
