-- Rotating the key-encryption key wraps the keys of model providers anew, as it does the tokens of connections.

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

-- Answers the envelope of a key that is to be wrapped under the first key; {claimed: false} when it is already, or gone.
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

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_model_rewraps_v1 to countersign_worker;
grant execute on function app.claim_model_rewrap_v1, app.store_model_rewrap_v1 to authenticated;
