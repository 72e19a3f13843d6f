-- Webhooks that start runs: where a provider sends its events for one workflow, and the secrets that they are signed with, which are
-- sealed as OAuth tokens are. Whoever verifies a delivery is given them; whoever accepts one queues a run, once for each event.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('webhooks.manage', '{owner,admin}', false, false, true, 'let a provider''s events start runs, and rotate or revoke their secrets'),
    ('webhooks.receive', '{}', false, true, false, 'queue the run of an event whose signature is right');

-- generation rises with every secret. The one before it is good until previous_until, so that a provider can be told the new one. wrapping
-- rises with every rewrapping of either, so that no two have one name; what is sealed stays the same.
create table app.webhook_triggers (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    workflow_id uuid not null,
    provider text not null check (provider ~ '^[a-z0-9_]{1,40}$'),
    status text not null default 'active' check (status in ('active', 'revoked')),
    generation integer not null default 1 check (generation > 0),
    secret_id uuid,              -- no foreign key may point at vault.secrets; null once destroyed
    previous_secret_id uuid,
    previous_until timestamptz,
    created_by uuid not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    wrapping integer not null default 0,
    primary key (tenant_id, id),
    unique (id),
    foreign key (tenant_id, workflow_id) references app.workflows (tenant_id, id),
    constraint revoked_holds_no_secret check (case status when 'active' then secret_id is not null
        else secret_id is null and previous_secret_id is null end),
    constraint previous_secret_ends check (previous_secret_id is null or previous_until is not null)
);
create index webhook_triggers_by_workflow on app.webhook_triggers (tenant_id, workflow_id);
create index webhook_triggers_by_time on app.webhook_triggers (tenant_id, created_at desc, id desc);
-- One address for a workflow and a provider: two would start two runs for one event.
create unique index webhook_triggers_once on app.webhook_triggers (tenant_id, workflow_id, provider) where status = 'active';

-- Whether a secret became another only by being wrapped anew: the same sealed data, or the same secret, or none before and after.
create function private.same_secret(p_old uuid, p_new uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select p_old is not distinct from p_new or coalesce(private.same_sealed(
        (select decrypted_secret from vault.decrypted_secrets where id = p_old),
        (select decrypted_secret from vault.decrypted_secrets where id = p_new)), false)
$$;

-- Whoever writes the row: a person of the tenant who may, with a second factor; of a workflow of the same environment. What is
-- revoked stays so, and a secret is only ever the next generation's. The scheduled function that rotates keys may put a secret that is wrapped
-- anew in the place of the same secret.
create function private.guard_webhook_trigger() returns trigger
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
create trigger webhook_triggers_guard before insert or update or delete on app.webhook_triggers
    for each row execute function private.guard_webhook_trigger();
create trigger webhook_triggers_keep_columns before update on app.webhook_triggers
    for each row execute function private.keep_columns('status', 'generation', 'secret_id', 'previous_secret_id', 'previous_until', 'wrapping',
        'updated_at');
select private.audit_table('app.webhook_triggers', 'webhook_trigger', 'created', 'workflow_id provider generation previous_until');

alter table app.webhook_triggers enable row level security;
alter table app.webhook_triggers force row level security;
create policy "members read their tenant's webhook triggers of their environment" on app.webhook_triggers for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select (tenant_id, id, environment, workflow_id, provider, status, generation, previous_until, created_by, created_at, updated_at)
    on app.webhook_triggers to authenticated;

-- As it is shown: nothing of a secret but which one it is.
create function private.webhook_document(p_row app.webhook_triggers) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_row.id, 'environment', p_row.environment, 'provider', p_row.provider, 'status', p_row.status,
        'workflow', (select slug from app.workflows where tenant_id = p_row.tenant_id and id = p_row.workflow_id),
        'secret_generation', p_row.generation, 'previous_until', p_row.previous_until, 'created_by', p_row.created_by,
        'created_at', p_row.created_at, 'updated_at', p_row.updated_at)
$$;

-- Where the sealed secret of a generation is kept.
create function private.keep_webhook_secret(p_trigger uuid, p_generation integer, p_envelope text) returns uuid
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select vault.create_secret(p_envelope, 'countersign/webhook/' || p_trigger || '/' || p_generation, 'sealed secret of a webhook trigger')
$$;

-- Creates a trigger with its sealed secret. args: {id, workflow, provider, envelope}
create function app.create_webhook_trigger_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('webhooks.manage');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'workflow');
    v_row app.webhook_triggers;
begin
    if exists (select from app.webhook_triggers where tenant_id = v_principal.tenant_id and workflow_id = v_workflow.id
        and provider = p_args ->> 'provider' and status = 'active') then
        perform private.fail(409, 'webhook_exists', 'This provider has an address for this workflow; rotate its secret, or revoke it first.');
    end if;
    insert into app.webhook_triggers (tenant_id, id, environment, workflow_id, provider, secret_id, created_by)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, v_workflow.environment, v_workflow.id, p_args ->> 'provider',
        private.keep_webhook_secret((p_args ->> 'id')::uuid, 1, p_args ->> 'envelope'), v_principal.id)
    returning * into v_row;
    return private.webhook_document(v_row);
end
$$;

-- A new secret; the one before stays good for some hours, those before it are destroyed. args: {id, generation, envelope, overlap_hours}
create function app.rotate_webhook_secret_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('webhooks.manage');
    v_old app.webhook_triggers;
    v_row app.webhook_triggers;
    v_hours integer := coalesce((p_args ->> 'overlap_hours')::integer, 24);
begin
    select * into v_old from app.webhook_triggers where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such webhook trigger.');
    elsif v_old.status <> 'active' then
        perform private.fail(409, 'webhook_revoked', 'The webhook trigger is revoked; create another.');
    elsif (p_args ->> 'generation')::integer is distinct from v_old.generation + 1 then
        perform private.fail(409, 'generation_moved', 'Somebody else has rotated the secret meanwhile; look again.');
    end if;
    update app.webhook_triggers set generation = v_old.generation + 1, updated_at = now(),
        secret_id = private.keep_webhook_secret(v_old.id, v_old.generation + 1, p_args ->> 'envelope'),
        previous_secret_id = case when v_hours > 0 then v_old.secret_id end,
        previous_until = case when v_hours > 0 then clock_timestamp() + make_interval(hours => v_hours) end
        where tenant_id = v_old.tenant_id and id = v_old.id returning * into v_row;
    delete from vault.secrets where id = v_old.previous_secret_id or id = v_old.secret_id and v_hours <= 0;
    return private.webhook_document(v_row);
end
$$;

-- Ends a trigger at once: its secrets are destroyed, and its address answers as one that never was. args: {id}
create function app.revoke_webhook_trigger_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('webhooks.manage');
    v_old app.webhook_triggers;
    v_row app.webhook_triggers;
begin
    select * into v_old from app.webhook_triggers where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such webhook trigger.');
    elsif v_old.status = 'revoked' then
        return private.webhook_document(v_old);
    end if;
    update app.webhook_triggers set status = 'revoked', secret_id = null, previous_secret_id = null, previous_until = null, updated_at = now()
        where tenant_id = v_old.tenant_id and id = v_old.id returning * into v_row;
    delete from vault.secrets where id in (v_old.secret_id, v_old.previous_secret_id);
    return private.webhook_document(v_row);
end
$$;

-- A secret of the vault, or null where there is none that opens (another root key, as after a restore elsewhere): one that does not open
-- is as lost as one that is gone, and must not keep the others from being read.
create function private.secret_or_nothing(p_id uuid) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return (select decrypted_secret from vault.decrypted_secrets where id = p_id);
exception when others then
    raise warning 'secret % of the vault does not open: %', p_id, sqlstate;
    return null;
end
$$;

-- What a delivery to an address is verified with, of any tenant: {tenant_id, provider, generation, secrets: [{generation, envelope}]}; null
-- when there is no such address, or no more. Only secrets that open are among them, so that there may be none: generation is the one in
-- force, by which it is seen when that is missing. The envelopes open in the application alone.
create function app.claim_webhook_v1(p_id uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('tenant_id', t.tenant_id, 'provider', t.provider, 'generation', t.generation,
        'secrets', (select coalesce(jsonb_agg(jsonb_build_object('generation', k.generation, 'envelope', k.secret)
                order by k.generation desc) filter (where k.secret is not null), '[]')
            from (select t.generation, private.secret_or_nothing(t.secret_id) as secret union all
                select t.generation - 1, case when t.previous_until > clock_timestamp() then private.secret_or_nothing(t.previous_secret_id) end) k))
    from app.webhook_triggers t where t.id = p_id and t.status = 'active'
$$;

-- Queues the run of a verified event, once. Nothing of the event is kept but these words, and none of them instructs.
-- args: {id, trigger_id, generation, event_id, event_type, subject?}. Answers {outcome}: started, known, or ignored when the live
-- version asks for no such event.
create function app.accept_webhook_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('webhooks.receive');
    v_trigger app.webhook_triggers;
    v_workflow app.workflows;
    v_run jsonb;
    v_subject jsonb := nullif(p_args -> 'subject', 'null');
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_trigger from app.webhook_triggers where tenant_id = v_principal.tenant_id and id = (p_args ->> 'trigger_id')::uuid;
    if not found or v_trigger.status <> 'active' then
        perform private.fail(404, 'not_found', 'There is no such address.');
    elsif not coalesce((p_args ->> 'generation')::integer = v_trigger.generation or (p_args ->> 'generation')::integer = v_trigger.generation - 1
        and v_trigger.previous_secret_id is not null and v_trigger.previous_until > clock_timestamp(), false) then
        perform private.fail(401, 'invalid_signature', 'The secret that this is signed with is over.');
    elsif not coalesce(p_args ->> 'event_id' ~ '^[A-Za-z0-9_.:-]{1,200}$' and p_args ->> 'event_type' ~ '^[A-Za-z0-9_.:-]{1,100}$'
        and (v_subject is null or v_subject ->> 'type' ~ '^[a-z][a-z0-9_]{0,39}$' and v_subject ->> 'id' ~ '^[A-Za-z0-9_.:-]{1,100}$'
            and v_subject - '{type,id}'::text[] = '{}'), false) then
        perform private.fail(422, 'invalid_event', 'The event''s id, type or subject is none.');
    end if;
    select * into v_workflow from app.workflows where tenant_id = v_trigger.tenant_id and id = v_trigger.workflow_id;
    if not exists (select from app.workflow_versions v cross join lateral jsonb_array_elements(v.spec -> 'loop' -> 'triggers') t
        where v.tenant_id = v_workflow.tenant_id and v.workflow_id = v_workflow.id and v.version = v_workflow.live_version
            and t ->> 'kind' = 'webhook' and t ->> 'provider' = v_trigger.provider and t -> 'events' ?| array[p_args ->> 'event_type', '*']) then
        return jsonb_build_object('outcome', 'ignored');
    end if;
    v_run := private.queue_run(v_workflow, (p_args ->> 'id')::uuid, 'webhook',
        jsonb_build_object('webhook_trigger_id', v_trigger.id, 'provider', v_trigger.provider, 'event_id', p_args ->> 'event_id',
            'event_type', p_args ->> 'event_type'),
        null, v_subject, 'webhook:' || v_trigger.provider || ':' || (p_args ->> 'event_id'), 'system', null);
    return jsonb_build_object('outcome', case when (v_run ->> 'started')::boolean then 'started' else 'known' end);
end
$$;

-- That the secret in force could not be opened when something was delivered: nothing that is delivered can be verified then, which whoever
-- answers for the workflow is told, once, until there is another secret. Who delivers is nobody that is known, so an alert that is there
-- already is not raised again. args: {trigger_id, generation}. Answers {raised}.
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
grant execute on function app.create_webhook_trigger_v1, app.rotate_webhook_secret_v1, app.revoke_webhook_trigger_v1,
    app.accept_webhook_v1, app.note_lost_webhook_secret_v1 to authenticated;
grant execute on function app.claim_webhook_v1 to countersign_worker;
