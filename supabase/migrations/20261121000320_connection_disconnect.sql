-- Disconnecting, as steps of which each can be tried again: closed here at once, revoked at the provider, destroyed here.

-- at_provider: pending, then confirmed | unsupported (it has no way to revoke) | failed (it did not confirm, and we gave up) |
-- nothing_to_revoke. `attempts` is also the fence: only the last try may say how it ended.
create table app.disconnections (
    tenant_id uuid not null references app.tenants,
    connection_id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    status text not null check (status in ('revoking', 'finished')),
    at_provider text not null check (at_provider in ('pending', 'confirmed', 'unsupported', 'failed', 'nothing_to_revoke')),
    attempts integer not null default 0,
    next_attempt_at timestamptz,
    lease_until timestamptz,
    last_error text check (length(last_error) <= 1000),
    begun_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (tenant_id, connection_id),
    foreign key (tenant_id, connection_id) references app.connections (tenant_id, id),
    check ((status = 'revoking') = (at_provider = 'pending') and (status = 'revoking') = (next_attempt_at is not null))
);
create index disconnections_due on app.disconnections (next_attempt_at) where status = 'revoking';

create function private.guard_disconnection() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'That a connection was closed stays on record.');
    elsif tg_op = 'UPDATE' and (old.status = 'finished' or new.attempts not in (old.attempts, old.attempts + 1)) then
        perform private.fail(409, 'invalid_transition', 'A disconnect goes on until it is finished.');
    elsif tg_op = 'INSERT' and not exists (select from app.connections
        where tenant_id = new.tenant_id and id = new.connection_id and status = 'revoked') then
        perform private.fail(409, 'invalid_transition', 'A connection is closed before its grant is revoked.');
    elsif new.status = 'finished' and exists (select from app.credentials where tenant_id = new.tenant_id
        and connection_id = new.connection_id and secret_id is not null) then
        perform private.fail(409, 'invalid_transition', 'A disconnect is finished when the secret is destroyed.');
    end if;
    return new;
end
$$;
create trigger disconnections_guard before insert or update or delete on app.disconnections
    for each row execute function private.guard_disconnection();
create trigger disconnections_keep_columns before update on app.disconnections
    for each row execute function private.keep_columns('status', 'at_provider', 'attempts', 'next_attempt_at', 'lease_until', 'last_error', 'finished_at');
select private.audit_table('app.disconnections', 'disconnection', 'begun', 'connection_id at_provider attempts', 'last_error');

alter table app.disconnections enable row level security;
alter table app.disconnections force row level security;
create policy "members read their tenant's disconnects of their environment" on app.disconnections for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.disconnections to authenticated;

create function private.destroy_secret(p_tenant uuid, p_connection uuid) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    delete from vault.secrets where id in (
        select secret_id from app.credentials where tenant_id = p_tenant and connection_id = p_connection);
    update app.credentials set secret_id = null, renew_at = null, refresh_lease_until = null, updated_at = now()
        where tenant_id = p_tenant and connection_id = p_connection
$$;

-- Closes a connection: from this commit on no claim gets its credential. What it was granted at the provider is revoked next, by
-- whoever claims that; the secret is kept for it, and for nothing else, until then. Once more changes nothing. args: {id, reason?}
-- `credential` is answered empty, for the release before this one, which revoked with it.
create or replace function app.revoke_connection_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.manage');
    v_connection app.connections;
    v_credential app.credentials;
    v_disconnection app.disconnections;
begin
    -- Waits for claims in flight: whatever holds the credential when this returns, held it before.
    perform private.lock_tenant(v_principal.tenant_id, true);
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such connection.');
    end if;
    if v_connection.status <> 'revoked' then
        update app.connections set status = 'revoked', status_reason = left(coalesce(p_args ->> 'reason', 'disconnected'), 1000)
            where tenant_id = v_connection.tenant_id and id = v_connection.id;
        select * into v_credential from app.credentials
            where tenant_id = v_connection.tenant_id and connection_id = v_connection.id for update;
        insert into app.disconnections (tenant_id, connection_id, environment, status, at_provider, next_attempt_at, finished_at)
        select v_connection.tenant_id, v_connection.id, v_connection.environment, case when v_credential.secret_id is null then 'finished' else 'revoking' end,
            case when v_credential.secret_id is null then 'nothing_to_revoke' else 'pending' end,
            case when v_credential.secret_id is not null then now() end, case when v_credential.secret_id is null then now() end;
    end if;
    select * into v_disconnection from app.disconnections where tenant_id = v_connection.tenant_id and connection_id = v_connection.id;
    return jsonb_build_object('id', v_connection.id, 'tenant_id', v_connection.tenant_id, 'provider', v_connection.provider,
        'status', 'revoked', 'credential', null, 'disconnect', private.disconnect_document(v_disconnection));
end
$$;

-- How far a disconnect is; null where there is none.
create function private.disconnect_document(p_row app.disconnections) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when p_row.connection_id is not null then jsonb_build_object(
        'step', case p_row.status when 'revoking' then 'revoking_at_provider' else 'finished' end, 'at_provider', p_row.at_provider,
        'attempts', p_row.attempts, 'next_attempt_at', p_row.next_attempt_at, 'last_error', p_row.last_error, 'finished_at', p_row.finished_at) end
$$;

-- Ends a disconnect: the secret is destroyed, and where the provider did not confirm, a person is told to remove the grant there.
create function private.finish_disconnection(p_connection app.connections, p_at_provider text, p_error text) returns app.disconnections
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_row app.disconnections;
begin
    perform private.destroy_secret(p_connection.tenant_id, p_connection.id);
    update app.disconnections set status = 'finished', at_provider = p_at_provider, lease_until = null, next_attempt_at = null,
        finished_at = now(), last_error = left(p_error, 1000)
        where tenant_id = p_connection.tenant_id and connection_id = p_connection.id returning * into v_row;
    if p_at_provider = 'failed' then
        perform private.raise_alert(v_row.tenant_id, v_row.environment, 'connection.revocation_failed', 'critical', 'connection', p_connection.id::text,
            format('%s did not confirm that the %s grant is revoked; remove Countersign there by hand.', p_connection.provider, p_connection.access),
            jsonb_build_object('provider', p_connection.provider, 'account', p_connection.account, 'attempts', v_row.attempts, 'error', v_row.last_error),
            p_connection.created_by);
    end if;
    return v_row;
end
$$;

-- Releases the tokens of a closed connection, to be revoked at the provider; one try at a time. A refresh that is still under way
-- is waited for, since its tokens are the ones to revoke. args: {connection_id}
create function app.claim_revocation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_connection app.connections;
    v_row app.disconnections;
    v_credential app.credentials;
begin
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid for no key update;
    select * into v_row from app.disconnections
        where tenant_id = v_principal.tenant_id and connection_id = v_connection.id and status = 'revoking' for update;
    if not found then
        return jsonb_build_object('claimed', false, 'reason', 'nothing_to_do');
    end if;
    select * into v_credential from app.credentials where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id for update;
    if v_row.next_attempt_at > now() or v_row.lease_until > now() or v_credential.refresh_lease_until > now() then
        return jsonb_build_object('claimed', false, 'reason', 'busy');
    elsif not exists (select from vault.secrets where id = v_credential.secret_id) then  -- somebody removed it past us
        perform private.finish_disconnection(v_connection, 'failed', 'The stored tokens are gone.');
        return jsonb_build_object('claimed', false, 'reason', 'nothing_to_do');
    end if;
    update app.disconnections set attempts = attempts + 1, lease_until = now() + interval '1 minute'
        where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id;
    return jsonb_build_object('claimed', true, 'attempt', v_row.attempts + 1,
        'credential', private.release_credential(v_connection, 'revocation', v_connection.id, null, null));
end
$$;

-- How a try ended: confirmed, unsupported, or failed and to be tried again, at most eight times in two days. After that a person has to
-- remove the grant at the provider, and is told so. In the end the secret is destroyed. A try on tokens that were replaced meanwhile
-- settles nothing. args: {connection_id, attempt, generation, outcome, error?}
create function app.finish_revocation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_row app.disconnections;
    v_connection app.connections;
    v_generation integer;
    v_outcome text := p_args ->> 'outcome';
begin
    if v_outcome is null or v_outcome not in ('confirmed', 'unsupported', 'failed') then
        perform private.fail(422, 'invalid_outcome', 'A provider confirms, has no way to, or fails.');
    end if;
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'connection_id')::uuid for no key update;
    select * into v_row from app.disconnections where tenant_id = v_principal.tenant_id
        and connection_id = v_connection.id and status = 'revoking' and attempts = (p_args ->> 'attempt')::integer for update;
    if not found then
        perform private.fail(409, 'lease_lost', 'Somebody else has gone on with this disconnect.');
    end if;
    select generation into v_generation from app.credentials where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id for update;
    if v_generation <> (p_args ->> 'generation')::integer or v_outcome = 'failed' and v_row.attempts < 8 then
        update app.disconnections set lease_until = null, last_error = left(p_args ->> 'error', 1000),
            next_attempt_at = case when v_generation <> (p_args ->> 'generation')::integer then now()
                else now() + least(interval '1 minute' * 4 ^ (v_row.attempts - 1), interval '16 hours') end
            where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id returning * into v_row;
        return private.disconnect_document(v_row);
    end if;
    return private.disconnect_document(private.finish_disconnection(v_connection, v_outcome, p_args ->> 'error'));
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_revocation_v1, app.finish_revocation_v1 to authenticated;
