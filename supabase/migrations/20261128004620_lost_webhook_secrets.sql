-- A secret that webhooks are signed with may be lost: its row of the vault is gone, or it does not open. Then nothing that is delivered
-- can be verified, which whoever answers for the workflow is told, once, until there is another secret.

-- As it was, with which generation is the one in force, so that it is seen when that is missing: {tenant_id, provider, generation,
-- secrets: [{generation, envelope}]}, of which there may be none; null when there is no such address, or no more.
create or replace function app.claim_webhook_v1(p_id uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('tenant_id', t.tenant_id, 'provider', t.provider, 'generation', t.generation,
        'secrets', (select coalesce(jsonb_agg(jsonb_build_object('generation', k.generation, 'envelope', s.decrypted_secret)
                order by k.generation desc), '[]')
            from (values (t.generation, t.secret_id), (t.generation - 1, case when t.previous_until > clock_timestamp() then t.previous_secret_id end))
                as k (generation, secret_id)
            join vault.decrypted_secrets s on s.id = k.secret_id))
    from app.webhook_triggers t where t.id = p_id and t.status = 'active'
$$;

-- That the secret in force could not be opened when something was delivered. Who delivers is nobody that is known, so an alert that is
-- there already is not raised again. args: {trigger_id, generation}. Answers {raised}.
create function app.note_lost_webhook_secret_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('webhooks.receive');
    v_trigger app.webhook_triggers;
    v_workflow app.workflows;
    v_owner text;
begin
    -- Held to the end, so that of two deliveries at once the second one sees the first one's alert.
    perform pg_advisory_xact_lock(hashtextextended('lost secret ' || (p_args ->> 'trigger_id'), 0));
    select * into v_trigger from app.webhook_triggers where tenant_id = v_principal.tenant_id and id = (p_args ->> 'trigger_id')::uuid
        and status = 'active' and generation = (p_args ->> 'generation')::integer;
    if not found or exists (select from app.alerts where tenant_id = v_trigger.tenant_id and kind = 'webhook.secret_lost'
        and subject_type = 'webhook_trigger' and subject_id = v_trigger.id::text and status <> 'resolved') then
        return jsonb_build_object('raised', false);
    end if;
    select * into v_workflow from app.workflows where tenant_id = v_trigger.tenant_id and id = v_trigger.workflow_id;
    select left(spec ->> 'owner', 320) into v_owner from app.workflow_versions
        where tenant_id = v_workflow.tenant_id and workflow_id = v_workflow.id and version = v_workflow.live_version;
    perform private.raise_alert(v_trigger.tenant_id, v_trigger.environment, 'webhook.secret_lost', 'critical', 'webhook_trigger',
        v_trigger.id::text, format('Events of %s start no runs of %s: the secret that they are signed with is lost. Rotate it, and tell the provider.',
            v_trigger.provider, v_workflow.slug),
        jsonb_build_object('workflow_id', v_workflow.id, 'provider', v_trigger.provider, 'generation', v_trigger.generation),
        (select user_id from app.members where tenant_id = v_trigger.tenant_id and lower(email) = lower(v_owner)), v_owner);
    return jsonb_build_object('raised', true);
end
$$;

-- Another secret, or the end of the address, is the end of that alert.
create function private.webhook_secret_renewed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.resolve_alert(new.tenant_id, 'webhook.secret_lost', 'webhook_trigger', new.id::text,
        case new.status when 'revoked' then 'The address was revoked.' else 'The secret was rotated.' end);
    return null;
end
$$;
create trigger webhook_triggers_renewed after update on app.webhook_triggers for each row
    when (new.generation <> old.generation or new.status <> old.status) execute function private.webhook_secret_renewed();

select private.guard_table('app.webhook_triggers');
revoke all on all functions in schema app, private from public;
grant execute on function app.claim_webhook_v1 to countersign_worker;
grant execute on function app.note_lost_webhook_secret_v1 to authenticated;
