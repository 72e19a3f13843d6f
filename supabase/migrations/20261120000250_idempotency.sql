-- Idempotency keys (invariant 10). Kept 30 days, then purged.
create table app.idempotency_keys (
    tenant_id uuid not null references app.tenants,
    principal_id uuid not null,
    environment text not null,    -- of the key that asked; '' for people
    permissions text[] not null,  -- what the asker held: whoever holds less does not get the answer
    key text not null check (length(key) between 1 and 255),
    request text not null,
    answer jsonb not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, principal_id, environment, key)
);
create function private.guard_idempotency_key() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'UPDATE' or old.created_at > now() - interval '30 days' then
        perform private.fail(409, 'append_only', 'An idempotency key names one request for ever.');
    end if;
    return old;
end
$$;
create trigger idempotency_keys_guard before update or delete on app.idempotency_keys
    for each row execute function private.guard_idempotency_key();
select private.guard_table('app.idempotency_keys');

create function private.find_answer(p_key text, p_request text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.current_principal();
    v_row app.idempotency_keys;
begin
    if v_principal.kind is null then
        return null;  -- the function that is called next says what is wrong
    end if;
    -- A second caller with the same key waits here until the first has committed, then reads its answer.
    perform pg_advisory_xact_lock(hashtextextended(
        concat_ws('/', v_principal.tenant_id, v_principal.id, v_principal.environment, p_key), 20261121));
    select * into v_row from app.idempotency_keys
        where tenant_id = v_principal.tenant_id and principal_id = coalesce(v_principal.id, v_principal.tenant_id)
            and environment = coalesce(v_principal.environment, '') and key = p_key;
    if found and v_row.request is distinct from p_request then
        perform private.fail(422, 'idempotency_key_reused', 'This Idempotency-Key was used with another request.');
    elsif not v_row.permissions <@ v_principal.permissions then
        perform private.fail(403, 'permission_denied', 'The stored answer was given to somebody with more permissions.');
    end if;
    return v_row.answer;
end
$$;

-- A credential that an answer carries is not kept with it: each release is an event of its own (invariant 8).
create function private.keep_answer(p_key text, p_request text, p_answer jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.current_principal();
begin
    if v_principal.kind is not null then
        insert into app.idempotency_keys (tenant_id, principal_id, environment, permissions, key, request, answer)
        values (v_principal.tenant_id, coalesce(v_principal.id, v_principal.tenant_id), coalesce(v_principal.environment, ''),
            v_principal.permissions, p_key, p_request, p_answer - 'credential')
        on conflict do nothing;
        -- Somebody else can have come first only while there was no tenant yet to look in: founding it twice is one request.
        if not found and not exists (select from app.idempotency_keys where tenant_id = v_principal.tenant_id
            and principal_id = coalesce(v_principal.id, v_principal.tenant_id)
            and environment = coalesce(v_principal.environment, '') and key = p_key and request = p_request) then
            perform private.fail(422, 'idempotency_key_reused', 'This Idempotency-Key was used with another request.');
        end if;
    end if;
end
$$;

alter table app.idempotency_keys enable row level security;
alter table app.idempotency_keys force row level security;
create policy "nobody reads stored answers directly" on app.idempotency_keys for select to authenticated
    using (false);

revoke all on all functions in schema app, private from public;
grant execute on function private.find_answer, private.keep_answer to authenticated;
