-- A secret whose row of the vault is there and does not open (another root key, as after a restore elsewhere) is as lost as one that
-- is gone; it must not keep the others from being read.

-- A secret of the vault, or null where there is none that opens.
create function private.secret_or_nothing(p_id uuid) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return (select decrypted_secret from vault.decrypted_secrets where id = p_id);
exception when others then
    raise warning 'secret % of the vault does not open: %', p_id, sqlstate;
    return null;
end
$$;

-- As it was, of what opens.
create or replace function app.claim_webhook_v1(p_id uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('tenant_id', t.tenant_id, 'provider', t.provider, 'generation', t.generation,
        'secrets', (select coalesce(jsonb_agg(jsonb_build_object('generation', k.generation, 'envelope', k.secret)
                order by k.generation desc) filter (where k.secret is not null), '[]')
            from (select t.generation, private.secret_or_nothing(t.secret_id) as secret union all
                select t.generation - 1, case when t.previous_until > clock_timestamp() then private.secret_or_nothing(t.previous_secret_id) end) k))
    from app.webhook_triggers t where t.id = p_id and t.status = 'active'
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_webhook_v1 to countersign_worker;
