-- Some providers revoke with an access token only, and it may have ended by then: whoever revokes may refresh first.

-- Releases the tokens of a closed connection, to be revoked at the provider; one try at a time. A refresh that is still under way
-- is waited for, since its tokens are the ones to revoke. While the try lasts it may store a next generation, for the next
-- try to revoke with, should this one fail. args: {connection_id}
create or replace function app.claim_revocation_v1(p_args jsonb) returns jsonb
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
    update app.disconnections set attempts = attempts + 1, lease_until = now() + interval '2 minutes'
        where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id;
    update app.credentials set refresh_lease_until = now() + interval '2 minutes'
        where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id;
    return jsonb_build_object('claimed', true, 'attempt', v_row.attempts + 1,
        'credential', private.release_credential(v_connection, 'revocation', v_connection.id, null, null));
end
$$;

-- How a try ended: confirmed, unsupported, or failed and to be tried again, at most eight times in two days. After that a person has to
-- remove the grant at the provider, and is told so. In the end the secret is destroyed. A try on tokens that were replaced meanwhile
-- settles nothing. args: {connection_id, attempt, generation, outcome, error?}
create or replace function app.finish_revocation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('connections.maintain');
    v_row app.disconnections;
    v_connection app.connections;
    v_replaced boolean;
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
    select generation is distinct from (p_args ->> 'generation')::integer into v_replaced from app.credentials
        where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id for update;
    if not v_replaced and (v_outcome <> 'failed' or v_row.attempts >= 8) then
        return private.disconnect_document(private.finish_disconnection(v_connection, v_outcome, p_args ->> 'error'));
    end if;
    update app.credentials set refresh_lease_until = null where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id;
    update app.disconnections set lease_until = null, last_error = left(p_args ->> 'error', 1000),
        next_attempt_at = case when v_replaced then now()
            else now() + least(interval '1 minute' * 4 ^ (v_row.attempts - 1), interval '16 hours') end
        where tenant_id = v_row.tenant_id and connection_id = v_row.connection_id returning * into v_row;
    return private.disconnect_document(v_row);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_revocation_v1, app.finish_revocation_v1 to authenticated;
