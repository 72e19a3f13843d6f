-- Calls of models: what each may cost at most is reserved before it is made, the key is released for it alone, and what it did cost
-- is written down afterwards. What was reserved and never settled counts in full: the call may have been made.

create table app.model_reservations (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    run_id uuid not null,
    workflow_id uuid not null,
    provider_id uuid not null,
    generation integer not null,          -- of the key that was released
    model text not null check (length(model) between 1 and 100),
    attempt integer not null check (attempt between 1 and 100),
    prompt_digest text not null check (prompt_digest ~ '^sha256:[0-9a-f]{64}$'),
    system_version text not null check (length(system_version) between 1 and 100),
    input_bound integer not null check (input_bound > 0),
    output_bound integer not null check (output_bound > 0),
    input_price bigint not null,          -- millionths of a unit of the currency for a million tokens
    output_price bigint not null,
    cost_bound bigint not null check (cost_bound >= 0),
    currency text not null,
    created_at timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id),
    foreign key (tenant_id, workflow_id) references app.workflows (tenant_id, id),
    foreign key (tenant_id, provider_id) references app.model_providers (tenant_id, id)
);
create index model_reservations_by_run on app.model_reservations (tenant_id, run_id, created_at);
create index model_reservations_by_day on app.model_reservations (tenant_id, workflow_id, created_at);
create index model_reservations_by_provider on app.model_reservations (tenant_id, provider_id);

-- How a reserved call ended; it has the reservation's id. sealed: prompt and response, under the run's key for prompts.
create table app.model_calls (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    run_id uuid not null,
    provider_id uuid not null,
    model text not null,
    attempt integer not null,
    outcome text not null check (outcome in ('suggested', 'invalid', 'refused', 'truncated', 'malformed', 'oversize', 'rate_limited',
        'unavailable', 'forbidden', 'rejected', 'unanswered')),
    error text check (length(error) <= 1000),
    input_tokens integer not null check (input_tokens >= 0),
    output_tokens integer not null check (output_tokens >= 0),
    cost bigint not null check (cost >= 0),   -- millionths of a unit of the currency
    currency text not null,
    prompt_digest text not null,
    response_digest text check (response_digest ~ '^sha256:[0-9a-f]{64}$'),
    system_version text not null,
    sealed jsonb check (octet_length(sealed::text) <= 8000000),
    created_at timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, id) references app.model_reservations (tenant_id, id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id),
    foreign key (tenant_id, provider_id) references app.model_providers (tenant_id, id)
);
create index model_calls_by_run on app.model_calls (tenant_id, run_id, created_at);
create index model_calls_by_provider on app.model_calls (tenant_id, provider_id);

-- What tokens cost, rounded up to a millionth.
create function private.model_cost(p_input bigint, p_output bigint, p_input_price bigint, p_output_price bigint) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select ceil((p_input::numeric * p_input_price + p_output::numeric * p_output_price) / 1000000)::bigint
$$;

-- What calls have taken of a budget: what was settled, and of the rest what was reserved. Null run: of the workflow since p_since.
create function private.model_spent(p_tenant uuid, p_workflow uuid, p_run uuid, p_since timestamptz, out tokens bigint, out cost bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(sum(case when c.id is null then r.input_bound::bigint + r.output_bound else c.input_tokens::bigint + c.output_tokens end), 0)::bigint,
        coalesce(sum(coalesce(c.cost, r.cost_bound)), 0)::bigint
    from app.model_reservations r left join app.model_calls c on c.tenant_id = r.tenant_id and c.id = r.id
    where r.tenant_id = p_tenant and r.workflow_id = p_workflow and (p_run is null or r.run_id = p_run) and (p_since is null or r.created_at >= p_since)
$$;

-- Refuses a reservation that a budget has no room for; the caller holds the lock of the workflow's budget.
create function private.require_model_budget(p_row app.model_reservations, p_budget jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_run record := private.model_spent(p_row.tenant_id, p_row.workflow_id, p_row.run_id, null);
    v_day record := private.model_spent(p_row.tenant_id, p_row.workflow_id, null, date_trunc('day', clock_timestamp(), 'UTC'));
    v_tokens constant bigint := p_row.input_bound::bigint + p_row.output_bound;
begin
    if p_budget ->> 'currency' is distinct from p_row.currency then
        perform private.fail(409, 'budget_currency', format('The budget is in %s and the provider''s prices are in %s; say both in one currency.',
            p_budget ->> 'currency', p_row.currency));
    elsif coalesce(v_run.tokens + v_tokens > (p_budget ->> 'tokens_per_run')::bigint or v_run.cost + p_row.cost_bound > (p_budget ->> 'cost_per_run')::bigint, true) then
        perform private.fail(409, 'budget', 'The run''s budget has no room for another call of the model.');
    elsif coalesce(v_day.tokens + v_tokens > (p_budget ->> 'tokens_per_day')::bigint or v_day.cost + p_row.cost_bound > (p_budget ->> 'cost_per_day')::bigint, true) then
        perform private.fail(409, 'budget', 'The workflow''s budget of today (UTC) has no room for another call of the model.');
    end if;
end
$$;

-- Whoever writes the row: the system, for a live run of a workflow that nothing stops, whose reviewed version names this provider and
-- model, and within its budget. A workflow that holds regulated data is thought about by nobody who keeps any of it.
create function private.guard_model_reservation() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('models.call');
    v_run app.runs;
    v_spec jsonb;
    v_reasoner jsonb;
    v_provider app.model_providers;
    v_switch app.kill_switches;
begin
    if v_principal.tenant_id <> new.tenant_id or v_principal.kind <> 'system' then
        perform private.fail(403, 'permission_denied', 'Only a run of the tenant asks a model.');
    end if;
    perform private.lock_tenant(new.tenant_id, false);
    select * into v_run from app.runs where tenant_id = new.tenant_id and id = new.run_id for share;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such run.');
    elsif v_run.status in ('completed', 'failed', 'cancelled') then
        perform private.fail(409, 'run_completed', 'The run is over; no model is asked for it any more.');
    end if;
    v_switch := private.kill_switch_over(v_run.tenant_id, v_run.workflow_id, null, null, null);
    if v_switch.id is not null then
        perform private.fail(409, 'kill_switch_engaged', format('A kill switch covers this: %s', v_switch.reason));
    end if;
    select spec into v_spec from app.workflow_versions
        where tenant_id = v_run.tenant_id and workflow_id = v_run.workflow_id and version = v_run.workflow_version;
    v_reasoner := v_spec -> 'loop' -> 'reasoner';
    select * into v_provider from app.model_providers where tenant_id = new.tenant_id and id = new.provider_id;
    if not found or v_provider.status <> 'active' or v_provider.environment <> v_run.environment or v_provider.generation <> new.generation then
        perform private.fail(409, 'provider_not_usable', 'The model provider is revoked, has another key by now, or is not of the run''s environment.');
    elsif v_reasoner ->> 'kind' is distinct from v_provider.kind or v_reasoner ->> 'provider' is distinct from v_provider.name
        or v_reasoner ->> 'model' is distinct from new.model or not v_provider.models ? new.model then
        perform private.fail(409, 'reasoner_not_declared', 'The version of the run''s workflow does not declare this provider and model, or the provider does not have it.');
    elsif v_provider.trains_on_data then
        perform private.fail(409, 'trains_on_data', 'A provider that trains on what it is sent is not used.');
    elsif v_provider.retention_days > 0 and coalesce(v_spec -> 'data_classes' ? 'regulated', false) then
        perform private.fail(409, 'retains_regulated_data', format(
            'The workflow holds regulated data, and the provider keeps what it is sent for %s days; it takes one that keeps nothing.', v_provider.retention_days));
    end if;
    new.environment := v_run.environment;
    new.workflow_id := v_run.workflow_id;
    new.input_price := (v_provider.models -> new.model ->> 'input_price')::bigint;
    new.output_price := (v_provider.models -> new.model ->> 'output_price')::bigint;
    new.currency := v_provider.currency;
    new.cost_bound := private.model_cost(new.input_bound, new.output_bound, new.input_price, new.output_price);
    -- One at a time for a workflow, so that two instances never count the same room.
    perform pg_advisory_xact_lock(hashtextextended(new.workflow_id::text, 20261128));
    new.created_at := clock_timestamp();
    perform private.require_model_budget(new, v_reasoner -> 'budget');
    return new;
end
$$;
create trigger model_reservations_guard before insert on app.model_reservations
    for each row execute function private.guard_model_reservation();
select private.audit_table('app.model_reservations', 'model_key', 'released',
    'provider_id generation model attempt prompt_digest system_version input_bound output_bound cost_bound currency');
select private.append_only('app.model_reservations');

-- A call ends once, as its reservation says whose it is; it costs what the reserved prices make of its tokens, and no more was reserved.
create function private.guard_model_call() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('models.call');
    v_reserved app.model_reservations;
begin
    if v_principal.tenant_id <> new.tenant_id or v_principal.kind <> 'system' then
        perform private.fail(403, 'permission_denied', 'Only a run of the tenant asks a model.');
    end if;
    select * into v_reserved from app.model_reservations where tenant_id = new.tenant_id and id = new.id;
    if not found then
        perform private.fail(404, 'not_found', 'No such call was reserved.');
    elsif new.input_tokens > v_reserved.input_bound or new.output_tokens > v_reserved.output_bound then
        perform private.fail(409, 'beyond_reservation', 'A call takes what was reserved for it, at most.');
    end if;
    new.environment := v_reserved.environment;
    new.run_id := v_reserved.run_id;
    new.provider_id := v_reserved.provider_id;
    new.model := v_reserved.model;
    new.attempt := v_reserved.attempt;
    new.prompt_digest := v_reserved.prompt_digest;
    new.system_version := v_reserved.system_version;
    new.currency := v_reserved.currency;
    new.cost := private.model_cost(new.input_tokens, new.output_tokens, v_reserved.input_price, v_reserved.output_price);
    new.created_at := clock_timestamp();
    return new;
end
$$;
create trigger model_calls_guard before insert on app.model_calls
    for each row execute function private.guard_model_call();
select private.audit_table('app.model_calls', 'model_call', 'finished',
    'provider_id model attempt outcome input_tokens output_tokens cost currency prompt_digest response_digest system_version', 'error');
select private.append_only('app.model_calls');

alter table app.model_reservations enable row level security;
alter table app.model_reservations force row level security;
alter table app.model_calls enable row level security;
alter table app.model_calls force row level security;
create policy "members read their tenant's reserved calls of their environment" on app.model_reservations for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
create policy "members read their tenant's model calls of their environment" on app.model_calls for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.model_reservations, app.model_calls to authenticated;

-- Reserves one call and releases the provider's sealed key for it. args: {id, run_id, kind, provider, model, attempt, prompt_digest,
-- system_version, input_bound, output_bound}. Answers {provider_id, environment, base_url, generation, envelope, currency}.
create function app.begin_model_call_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('models.call');
    v_provider app.model_providers;
    v_envelope text;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select p.* into v_provider from app.model_providers p join app.runs r on r.tenant_id = p.tenant_id and r.environment = p.environment
        where p.tenant_id = v_principal.tenant_id and r.id = (p_args ->> 'run_id')::uuid and p.name = p_args ->> 'provider'
            and p.kind = p_args ->> 'kind' and p.status = 'active';
    if not found then
        perform private.fail(404, 'no_model_provider', format('There is no model provider %s of the kind %s for this run; register it, or end the run.',
            p_args ->> 'provider', p_args ->> 'kind'));
    end if;
    insert into app.model_reservations (tenant_id, id, run_id, provider_id, generation, model, attempt, prompt_digest, system_version,
        input_bound, output_bound)
    values (v_provider.tenant_id, (p_args ->> 'id')::uuid, (p_args ->> 'run_id')::uuid, v_provider.id, v_provider.generation,
        p_args ->> 'model', (p_args ->> 'attempt')::integer, p_args ->> 'prompt_digest', p_args ->> 'system_version',
        (p_args ->> 'input_bound')::integer, (p_args ->> 'output_bound')::integer);
    -- The name binds the secret to the provider and generation it was stored for.
    select decrypted_secret into v_envelope from vault.decrypted_secrets where id = v_provider.secret_id
        and name = private.model_secret_name(v_provider.id, v_provider.generation, v_provider.wrapping);
    if v_envelope is null then
        perform private.fail(409, 'credential_missing', 'The model provider holds no key; give it a new one.');
    end if;
    return jsonb_build_object('provider_id', v_provider.id, 'tenant_id', v_provider.tenant_id, 'environment', v_provider.environment,
        'base_url', v_provider.base_url, 'generation', v_provider.generation, 'envelope', v_envelope, 'currency', v_provider.currency);
end
$$;

-- Writes down how a reserved call ended; a second time it answers what was written. args: {id, outcome, error, input_tokens,
-- output_tokens, response_digest, sealed}. Answers {cost, currency}.
create function app.settle_model_call_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('models.call');
    v_row app.model_calls;
begin
    insert into app.model_calls (tenant_id, id, outcome, error, input_tokens, output_tokens, response_digest, sealed)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, p_args ->> 'outcome', p_args ->> 'error', (p_args ->> 'input_tokens')::integer,
        (p_args ->> 'output_tokens')::integer, p_args ->> 'response_digest', nullif(p_args -> 'sealed', 'null'))
    on conflict do nothing returning * into v_row;
    if v_row.id is null then
        select * into v_row from app.model_calls where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid;
    end if;
    return jsonb_build_object('id', v_row.id, 'cost', v_row.cost, 'currency', v_row.currency, 'outcome', v_row.outcome);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.begin_model_call_v1, app.settle_model_call_v1 to authenticated;
