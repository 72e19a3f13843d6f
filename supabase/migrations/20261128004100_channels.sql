-- Channels: where alerts are told, beside the dashboard: a mail address, a Slack channel, a webhook. One is used only once it has proved
-- to be whom it was meant for: a mail's code was typed in, or a message was taken. What opens it is sealed as a webhook trigger's secret is.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('channels.read', '{owner,admin,operator,developer,auditor}', false, true, false, 'read where alerts are told, and what became of it'),
    ('channels.manage', '{owner,admin}', false, false, true, 'say where alerts are told, and test, rotate and end it'),
    ('notifications.deliver', '{}', false, true, false, 'deliver what channels are to be told');

-- target: a mail address or a webhook's URL; of Slack no more than its host, since the URL is the secret. generation rises with every
-- secret, wrapping with every rewrapping of one. A code is kept as its digest.
create table app.channels (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text check (environment in ('sandbox', 'production')),   -- null: alerts of both
    kind text not null check (kind in ('email', 'slack', 'webhook')),
    name text not null check (length(name) between 1 and 100),
    target text not null check (length(target) between 3 and 2000),
    least_severity text not null check (least_severity in ('info', 'warning', 'critical')),
    owner_id uuid,               -- only alerts that this member answers for; null: all
    status text not null default 'unverified' check (status in ('unverified', 'active', 'disabled', 'deleted')),
    status_reason text check (length(status_reason) <= 500),
    generation integer not null default 1 check (generation > 0),
    wrapping integer not null default 0,
    secret_id uuid,              -- no foreign key may point at vault.secrets; null once destroyed
    previous_secret_id uuid,
    previous_until timestamptz,
    code_hash text check (code_hash ~ '^[0-9a-f]{64}$'),
    code_until timestamptz,
    code_tries integer not null default 0,
    verified_at timestamptz,
    verified_by uuid,
    version integer not null default 1,
    created_by uuid not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint what_opens_it check (case when kind = 'email' or status = 'deleted'
        then num_nonnulls(secret_id, previous_secret_id) = 0 else secret_id is not null end),
    constraint previous_secret_of_a_channel_ends check (previous_secret_id is null or previous_until is not null),
    constraint used_once_verified check (status <> 'active' or verified_at is not null)
);
create index channels_by_time on app.channels (tenant_id, created_at desc, id desc);

-- Every time that something was sent to prove or to try a channel: a code, or a message. Nobody makes us write to strangers: these are
-- counted. asked_by: who asked. The log keeps that it was tried, and by whom, and not with which address: the channel's own record has it.
create table app.channel_checks (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    channel_id uuid not null,
    environment text check (environment in ('sandbox', 'production')),
    kind text not null check (kind in ('code', 'message')),
    address text not null,
    generation integer not null,
    asked_by uuid not null,
    at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, id),
    foreign key (tenant_id, channel_id) references app.channels (tenant_id, id)
);
create index channel_checks_by_channel on app.channel_checks (tenant_id, channel_id, at desc);
create index channel_checks_by_time on app.channel_checks (tenant_id, at desc);
create index channel_checks_by_age on app.channel_checks (at);
create index channel_checks_by_address on app.channel_checks (address, at desc) where kind = 'code';

-- Whether a channel became another only by its secrets being wrapped anew.
create function private.channel_rewrapped(p_old app.channels, p_new app.channels) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select p_new.wrapping = p_old.wrapping + 1
        and to_jsonb(p_new) - '{wrapping, secret_id, previous_secret_id, updated_at}'::text[]
            = to_jsonb(p_old) - '{wrapping, secret_id, previous_secret_id, updated_at}'::text[]
        and private.same_secret(p_old.secret_id, p_new.secret_id) and private.same_secret(p_old.previous_secret_id, p_new.previous_secret_id)
$$;

-- Whoever writes the row: a person of the tenant who may, with a second factor. To stop one is allowed to whoever acts, such as whoever
-- removes the member that it writes to. Nobody is told anything by a channel that has not proved itself, and what is deleted stays so.
create function private.guard_channel() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_rewrapped boolean := false;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A channel is deleted by its function, and its record stays.');
    elsif tg_op = 'UPDATE' then
        if old.status = 'deleted' then
            perform private.fail(409, 'channel_deleted', 'The channel is deleted; make another.');
        elsif new.status = 'disabled' and to_jsonb(new) - '{status, status_reason, version, updated_at}'::text[]
            = to_jsonb(old) - '{status, status_reason, version, updated_at}'::text[] then
            return new;
        end if;
        v_rewrapped := private.channel_rewrapped(old, new);
    end if;
    v_principal := private.require(case when v_rewrapped then 'connections.maintain' else 'channels.manage' end);
    if v_principal.tenant_id <> new.tenant_id or v_principal.kind <> (case when v_rewrapped then 'system' else 'user' end) then
        perform private.fail(403, 'people_only', 'Only a person of the tenant manages its channels.');
    elsif v_rewrapped then
        return new;
    elsif tg_op = 'INSERT' then
        if new.status <> 'unverified' or new.generation <> 1 or new.created_by <> v_principal.id
            or num_nonnulls(new.previous_secret_id, new.code_hash, new.verified_at, new.verified_by) > 0 then
            perform private.fail(409, 'invalid_transition', 'A channel begins unverified, in the name of who makes it.');
        end if;
        return new;
    elsif new.generation not in (old.generation, old.generation + 1)
        or new.generation = old.generation and new.status <> 'deleted' and new.secret_id is distinct from old.secret_id
        or new.generation = old.generation + 1 and (new.secret_id = old.secret_id
            or new.previous_secret_id is not null and new.previous_secret_id <> old.secret_id) then
        perform private.fail(409, 'generation_moved', 'A new secret is the next generation, and only the one before it is good beside it.');
    elsif new.previous_until > clock_timestamp() + interval '7 days 1 minute' then
        perform private.fail(422, 'overlap_too_long', 'The secret before is good for at most seven days more.');
    elsif old.kind = 'slack' and new.generation > old.generation and new.verified_at is not null then
        perform private.fail(409, 'channel_unverified', 'A new address is verified before it is used.');
    elsif new.verified_at is distinct from old.verified_at and new.verified_at is not null then
        perform private.require_proof(old, new, v_principal.id);
    elsif new.code_hash is distinct from old.code_hash and new.code_hash is not null and (old.kind <> 'email' or old.verified_at is not null
        or new.code_until > clock_timestamp() + interval '16 minutes' or not exists (select from app.channel_checks
            where tenant_id = old.tenant_id and channel_id = old.id and kind = 'code' and at > clock_timestamp() - interval '1 minute')) then
        perform private.fail(409, 'invalid_transition', 'A code is one that was mailed, for a quarter of an hour.');
    end if;
    return new;
end
$$;

-- Refuses what is called verified and has not proved it: a mailed code is used up, once, in time, by who had few tries; a message was
-- asked for by the same person, to what the channel opens with now, moments ago.
create function private.require_proof(p_old app.channels, p_new app.channels, p_by uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_new.verified_by is distinct from p_by or p_new.generation <> p_old.generation or not coalesce(case p_old.kind
        when 'email' then p_old.code_until > clock_timestamp() and p_old.code_tries < 5 and p_old.code_hash is not null and p_new.code_hash is null
        else exists (select from app.channel_checks where tenant_id = p_old.tenant_id and channel_id = p_old.id and kind = 'message'
            and generation = p_old.generation and asked_by = p_by and at > clock_timestamp() - interval '5 minutes') end, false) then
        perform private.fail(409, 'channel_unverified', 'Nothing has proved that this channel is whom it is meant for.');
    end if;
end
$$;
create trigger channels_guard before insert or update or delete on app.channels
    for each row execute function private.guard_channel();
create trigger channels_keep_columns before update on app.channels
    for each row execute function private.keep_columns('environment', 'name', 'least_severity', 'owner_id', 'status', 'status_reason', 'generation',
        'wrapping', 'secret_id', 'previous_secret_id', 'previous_until', 'code_hash', 'code_until', 'code_tries', 'verified_at', 'verified_by',
        'version', 'updated_at');
select private.audit_table('app.channels', 'channel', 'created',
    'kind name target least_severity owner_id generation previous_until verified_by', 'status_reason');

-- Whoever writes the row: the person who asks, of a channel of the same tenant. What a channel was tried with is kept for 90 days, with the
-- address that was written to; then a scheduled function may take it out: nothing looks back further than a day. It never changes.
create function private.guard_channel_check() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
begin
    if tg_op = 'UPDATE' or tg_op = 'DELETE' and old.at > clock_timestamp() - interval '90 days' then
        perform private.fail(409, 'append_only', 'What a channel was tried with stays as it was for 90 days.');
    elsif tg_op = 'DELETE' then
        if (private.require('notifications.deliver')).tenant_id <> old.tenant_id then
            perform private.fail(403, 'permission_denied', 'It is forgotten in the name of its tenant.');
        end if;
        return old;
    end if;
    v_principal := private.require('channels.manage');
    if v_principal.tenant_id <> new.tenant_id or v_principal.kind <> 'user' or new.asked_by <> v_principal.id
        or abs(extract(epoch from clock_timestamp() - new.at)) > 60 then
        perform private.fail(403, 'people_only', 'A person of the tenant asks for it, now, in their own name.');
    end if;
    return new;
end
$$;
create trigger channel_checks_guard before insert or update or delete on app.channel_checks
    for each row execute function private.guard_channel_check();
select private.audit_table('app.channel_checks', 'channel_check', 'sent', 'channel_id kind generation');

alter table app.channels enable row level security;
alter table app.channels force row level security;
create policy "members read their tenant's channels of their environment" on app.channels for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));
grant select (tenant_id, id, environment, kind, name, target, least_severity, owner_id, status, status_reason, generation, previous_until,
    verified_at, verified_by, version, created_by, created_at, updated_at) on app.channels to authenticated;
alter table app.channel_checks enable row level security;
alter table app.channel_checks force row level security;
create policy "members read what their tenant's channels were tried with" on app.channel_checks for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));
grant select on app.channel_checks to authenticated;

-- Checks of any tenant that may go, as ids, the oldest first.
create function app.claim_old_channel_checks_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', c.tenant_id, 'id', c.id)), '[]') from (
        select tenant_id, id from app.channel_checks where at < clock_timestamp() - interval '90 days' order by at limit p_limit) c
$$;

-- Takes out those of them that may go. args: {ids}. Answers {erased: how many}.
create function app.forget_channel_checks_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('notifications.deliver');
    v_count integer;
begin
    delete from app.channel_checks c where c.tenant_id = v_principal.tenant_id and c.at < clock_timestamp() - interval '90 days'
        and c.id in (select k.id from app.channel_checks k where k.tenant_id = v_principal.tenant_id
            and k.id in (select value::uuid from jsonb_array_elements_text(p_args -> 'ids')) order by k.id for update skip locked);
    get diagnostics v_count = row_count;
    return jsonb_build_object('erased', v_count);
end
$$;

select private.guard_table('app.channels');
select private.guard_table('app.channel_checks');
revoke all on all functions in schema app, private from public;
grant execute on function app.claim_old_channel_checks_v1 to countersign_worker;
grant execute on function app.forget_channel_checks_v1 to authenticated;
