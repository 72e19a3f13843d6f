-- The directory: the counterparties that a tenant vouches for. What is in it came in by a change that one proposed and
-- another person approved, whoever writes the rows; and nothing of that is ever rewritten.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('directory.read', '{owner,admin,approver,operator,developer,auditor}', true, true, false, 'read the directory'),
    ('directory.propose', '{owner,admin,approver,operator}', true, false, false, 'propose changes of the directory'),
    ('directory.approve', '{owner,admin,approver}', false, false, true, 'approve or reject changes that somebody else proposed');
alter table private.permissions add constraint directory_is_checked_by_people
    check (permission <> 'directory.approve' or (aal2 and not service and not system));

-- One proposal: to create, change or remove an entry, or to change the settings. `payload` holds the exact bytes that its
-- digest covers, and that a checker names; the columns repeat of it what the database compares.
create table app.directory_changes (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text check (environment in ('sandbox', 'production')),  -- null: settings are the whole tenant's
    kind text not null check (kind in ('create', 'change', 'remove', 'settings')),
    entry_id uuid,
    base_version integer not null check (base_version >= 0),            -- of the entry, or of the settings
    payload text not null check (length(payload) <= 100000),
    digest text not null,
    reason text not null check (length(trim(reason)) between 1 and 2000),
    evidence jsonb not null check (jsonb_typeof(evidence) = 'array'),
    status text not null default 'open' check (status in ('open', 'approved', 'rejected', 'withdrawn', 'expired')),
    proposed_by_kind text not null,
    proposed_by uuid not null,
    proposed_with uuid,                                                 -- the key
    expires_at timestamptz not null,
    decided_by uuid,
    decided_at timestamptz,
    decided_aal text,
    decision_reason text check (length(decision_reason) <= 2000),
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    check ((kind = 'settings') = (environment is null) and (kind = 'settings') = (entry_id is null)),
    check ((kind = 'create') = (base_version = 0) or kind = 'settings')
);
create unique index directory_changes_one_open on app.directory_changes (tenant_id, coalesce(entry_id, tenant_id)) where status = 'open';
create index directory_changes_by_entry on app.directory_changes (tenant_id, entry_id, created_at);
create index directory_changes_by_time on app.directory_changes (tenant_id, created_at desc, id desc);

create table app.directory_entries (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    kind text not null check (kind in ('vendor', 'customer', 'employee', 'bank', 'other')),
    name text not null check (length(name) between 1 and 200),
    key text not null,        -- the name as names are compared
    skeleton text not null,   -- the name as it looks
    status text not null default 'active' check (status in ('active', 'removed')),
    version integer not null,
    change_id uuid not null,  -- the approved change that made it what it is
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, change_id) references app.directory_changes (tenant_id, id)
);
create index directory_entries_by_time on app.directory_entries (tenant_id, created_at desc, id desc);
create index directory_entries_by_key on app.directory_entries (tenant_id, key);
create index directory_entries_by_change on app.directory_entries (tenant_id, change_id);

-- Remainder 1 of ISO 7064 MOD 97-10, over the letters as numbers.
create function private.iban_holds(p_iban text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select p_iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$' and (
        select string_agg(case when c ~ '[A-Z]' then (ascii(c) - 55)::text else c end, '' order by n)
        from unnest(string_to_array(substr(p_iban, 5) || left(p_iban, 4), null)) with ordinality u (c, n))::numeric % 97 = 1
$$;

-- One thing by which an entry is recognised. Never changed: what takes its place is another row, which cools off anew.
create table app.directory_details (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    environment text not null,
    entry_id uuid not null,
    type text not null check (type in ('bank_account', 'email', 'domain', 'phone', 'address', 'external_id')),
    key text not null check (length(key) between 1 and 500),  -- as it is compared: exactly
    skeleton text,                                            -- as it looks, of a domain and of an e-mail's domain
    value jsonb not null check (jsonb_typeof(value) = 'object'),
    status text not null default 'active' check (status in ('active', 'removed')),
    trusted_from timestamptz not null,
    change_id uuid not null,
    removed_by_change_id uuid,
    created_at timestamptz not null default now(),
    removed_at timestamptz,
    primary key (tenant_id, id),
    foreign key (tenant_id, entry_id) references app.directory_entries (tenant_id, id),
    foreign key (tenant_id, change_id) references app.directory_changes (tenant_id, id),
    foreign key (tenant_id, removed_by_change_id) references app.directory_changes (tenant_id, id),
    constraint normalised check (case type
        when 'bank_account' then key ~ '^us:[0-9]{9}/[0-9A-Z-]{1,34}$' or key ~ '^other:[0-9A-Z]{1,35}/[0-9A-Z-]{1,34}$'
            or (key like 'iban:%' and private.iban_holds(substr(key, 6)))
        when 'email' then key = lower(key) and key ~ '^[^@[:space:]]+@[^@[:space:]]+$'
        when 'domain' then key ~ '^[a-z0-9-]+(\.[a-z0-9-]+)+$'
        when 'phone' then key ~ '^\+[1-9][0-9]{6,14}$'
        else true end)
);
create unique index directory_details_once on app.directory_details (tenant_id, entry_id, type, key) where status = 'active';
create index directory_details_by_key on app.directory_details (tenant_id, type, key);
create index directory_details_by_change on app.directory_details (tenant_id, change_id);
create index directory_details_by_removal on app.directory_details (tenant_id, removed_by_change_id);

-- For how long new bank details are not trusted, in numbered versions. A tenant without one has the default.
create table app.directory_settings (
    tenant_id uuid not null references app.tenants,
    version integer not null check (version > 0),
    cooling_off_hours integer not null check (cooling_off_hours between 0 and 720),
    change_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, version),
    foreign key (tenant_id, change_id) references app.directory_changes (tenant_id, id)
);
create index directory_settings_by_change on app.directory_settings (tenant_id, change_id);

create function private.cooling_off_hours(p_tenant uuid) returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce((select cooling_off_hours from app.directory_settings where tenant_id = p_tenant order by version desc limit 1), 72)
$$;

-- Whether this person stands behind a change: proposed it, or made the account or the key that did. Stricter than for
-- actions, whatever the tenant's settings say: an approved payment is one payment, an approved account is every one after it.
create function private.stands_behind(p_change app.directory_changes, p_user uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select p_change.proposed_by = p_user
        or exists (select from app.service_accounts where tenant_id = p_change.tenant_id
            and id = p_change.proposed_by and created_by = p_user)
        or exists (select from app.api_keys where tenant_id = p_change.tenant_id
            and id = p_change.proposed_with and created_by = p_user)
$$;

-- A change is about what is there now: an active entry of its environment in its present version, an entry that is not there
-- yet, or the settings in force.
create function private.require_base(p_change app.directory_changes) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_entry app.directory_entries;
    v_version integer;
begin
    if p_change.kind = 'settings' then
        select max(version) into v_version from app.directory_settings where tenant_id = p_change.tenant_id;
    else
        select * into v_entry from app.directory_entries where tenant_id = p_change.tenant_id and id = p_change.entry_id;
        v_version := v_entry.version;
        if p_change.kind <> 'create' and (v_entry.status is distinct from 'active' or v_entry.environment <> p_change.environment) then
            perform private.fail(404, 'not_found', 'There is no such entry.');
        end if;
    end if;
    if coalesce(v_version, 0) <> p_change.base_version then
        perform private.fail(409, 'version_moved', 'The directory has changed meanwhile; look at it again.');
    end if;
end
$$;

-- A change is proposed in the caller's own name, about what is there now; it is approved or rejected by another person, at
-- aal2, while it is open; and its payload is what the columns say and the digest covers. Whoever writes the row.
create function private.guard_directory_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_payload jsonb;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A change of the directory is never deleted.');
    elsif tg_op = 'INSERT' then
        v_principal := private.require('directory.propose');
        v_payload := new.payload::jsonb;
        if v_principal.tenant_id <> new.tenant_id or (v_principal.kind, v_principal.id) is distinct from (new.proposed_by_kind, new.proposed_by) then
            perform private.fail(403, 'not_the_proposer', 'A change is proposed in the caller''s own name.');
        elsif new.kind = 'settings' and v_principal.kind <> 'user' then
            perform private.fail(403, 'people_only', 'Only a person proposes to change the settings.');
        elsif new.status <> 'open' or new.decided_by is not null or new.decided_at is not null then
            perform private.fail(409, 'invalid_transition', 'A change begins open.');
        elsif new.digest is distinct from 'sha256:' || encode(sha256(convert_to(new.payload, 'UTF8')), 'hex')
            or (v_payload ->> 'id', v_payload ->> 'environment', v_payload ->> 'kind', v_payload ->> 'entry_id', v_payload ->> 'base_version')
                is distinct from (new.id::text, new.environment, new.kind, new.entry_id::text, new.base_version::text) then
            perform private.fail(422, 'payload_mismatch', 'The payload is not that of this change.');
        end if;
        perform private.require_environment(v_principal, new.environment);
        perform private.require_base(new);
        new.proposed_with := v_principal.key_id;
        new.created_at := now();
        new.expires_at := least(new.expires_at, now() + interval '30 days');
    elsif old.status <> 'open' then
        perform private.fail(409, 'already_decided', format('This change is %s already.', old.status));
    elsif new.status = 'expired' then
        if old.expires_at > clock_timestamp() then
            perform private.fail(409, 'not_expired', 'There is still time to decide this change.');
        end if;
        new.decided_at := now();
    elsif new.status = 'withdrawn' then
        v_principal := private.require('directory.propose');
        if v_principal.tenant_id <> new.tenant_id or v_principal.id <> old.proposed_by then
            perform private.fail(403, 'not_the_proposer', 'Who proposed a change withdraws it; somebody else rejects it.');
        end if;
        new.decided_by := v_principal.id;
        new.decided_at := now();
    elsif new.status in ('approved', 'rejected') then
        v_principal := private.require('directory.approve');
        if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id or v_principal.id is distinct from new.decided_by then
            perform private.fail(403, 'people_only', 'A person decides in his own name.');
        elsif private.stands_behind(old, v_principal.id) then
            perform private.fail(403, 'own_change', 'Who proposed a change, or made the account or key that did, cannot decide it; another person does.');
        elsif old.expires_at <= clock_timestamp() then
            perform private.fail(409, 'change_expired', 'The time to decide this change is over; propose it again.');
        end if;
        if new.status = 'approved' then
            perform private.require_base(new);
        end if;
        new.decided_at := now();
        new.decided_aal := v_principal.aal;
    else
        perform private.fail(409, 'invalid_transition', 'An open change is decided, withdrawn or expires.');
    end if;
    return new;
end
$$;
create trigger directory_changes_guard before insert or update or delete on app.directory_changes
    for each row execute function private.guard_directory_change();
create trigger directory_changes_keep_columns before update on app.directory_changes
    for each row execute function private.keep_columns('status', 'decided_by', 'decided_at', 'decided_aal', 'decision_reason');

-- The change that a row says made it, approved in this very transaction: rows of the directory have no other way to change.
create function private.change_at_work(p_tenant uuid, p_change uuid) returns app.directory_changes
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_change app.directory_changes;
begin
    select * into v_change from app.directory_changes
        where tenant_id = p_tenant and id = p_change and status = 'approved' and decided_at = now();
    if not found then
        perform private.fail(409, 'change_not_approved', 'The directory changes by an approved change only.');
    end if;
    return v_change;
end
$$;

create function private.guard_directory_entry() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_change app.directory_changes;
    v_entry jsonb;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'An entry is removed by a change; it is never deleted.');
    end if;
    v_change := private.change_at_work(new.tenant_id, new.change_id);
    v_entry := v_change.payload::jsonb -> 'entry';
    if v_change.entry_id is distinct from new.id or new.version <> v_change.base_version + 1 or new.environment <> v_change.environment
        or (tg_op = 'INSERT') <> (v_change.kind = 'create') or (new.status = 'removed') <> (v_change.kind = 'remove')
        or tg_op = 'UPDATE' and (new.version <> old.version + 1 or old.status = 'removed')
        or v_change.kind = 'remove' and (new.kind, new.name, new.key, new.skeleton) is distinct from (old.kind, old.name, old.key, old.skeleton)
        or v_change.kind <> 'remove' and (new.kind, new.name, new.key, new.skeleton)
            is distinct from (v_entry ->> 'kind', v_entry ->> 'name', v_entry ->> 'key', v_entry ->> 'skeleton') then
        perform private.fail(409, 'not_what_was_approved', 'The entry is not what was approved.');
    end if;
    new.updated_at := now();
    return new;
end
$$;
create trigger directory_entries_guard before insert or update or delete on app.directory_entries
    for each row execute function private.guard_directory_entry();
create trigger directory_entries_keep_columns before update on app.directory_entries
    for each row execute function private.keep_columns('kind', 'name', 'key', 'skeleton', 'status', 'version', 'change_id', 'updated_at');
create trigger directory_entries_raise_epoch after insert or update on app.directory_entries
    for each row execute function private.raise_epoch();

-- What an approved change says of one detail; null when it does not name it.
create function private.detail_in(p_change app.directory_changes, p_detail app.directory_details) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select d from jsonb_array_elements(p_change.payload::jsonb -> 'details') d
    where d ->> 'type' = p_detail.type and d ->> 'key' = p_detail.key and d -> 'value' = p_detail.value
        and d ->> 'skeleton' is not distinct from p_detail.skeleton
$$;

create function private.guard_directory_detail() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_change app.directory_changes;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A detail is removed by a change; it is never deleted.');
    end if;
    v_change := private.change_at_work(new.tenant_id, case tg_op when 'INSERT' then new.change_id else new.removed_by_change_id end);
    if v_change.entry_id is distinct from new.entry_id or new.environment <> v_change.environment
        or tg_op = 'INSERT' and (new.status <> 'active' or new.removed_by_change_id is not null or private.detail_in(v_change, new) is null)
        or tg_op = 'UPDATE' and (old.status <> 'active' or new.status <> 'removed' or private.detail_in(v_change, old) is not null) then
        perform private.fail(409, 'not_what_was_approved', 'The detail is not what was approved.');
    end if;
    if tg_op = 'INSERT' then
        -- Of bank details nobody says since when they are trusted.
        new.created_at := now();
        new.trusted_from := now() + case when new.type = 'bank_account'
            then make_interval(hours => private.cooling_off_hours(new.tenant_id)) else interval '0' end;
    else
        new.removed_at := now();
    end if;
    return new;
end
$$;
create trigger directory_details_guard before insert or update or delete on app.directory_details
    for each row execute function private.guard_directory_detail();
create trigger directory_details_keep_columns before update on app.directory_details
    for each row execute function private.keep_columns('status', 'removed_by_change_id', 'removed_at');

create function private.guard_directory_settings() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_change app.directory_changes := private.change_at_work(new.tenant_id, new.change_id);
begin
    if v_change.kind <> 'settings' or new.version <> v_change.base_version + 1
        or new.cooling_off_hours::text is distinct from v_change.payload::jsonb -> 'settings' ->> 'cooling_off_hours' then
        perform private.fail(409, 'not_what_was_approved', 'The settings are not what was approved.');
    end if;
    new.created_at := now();
    return new;
end
$$;
create trigger directory_settings_guard before insert on app.directory_settings
    for each row execute function private.guard_directory_settings();
create trigger directory_settings_raise_epoch after insert on app.directory_settings
    for each row execute function private.raise_epoch();

-- Names and accounts stay out of the chain, which nobody can erase from: the digest stands for them.
select private.audit_table('app.directory_changes', 'directory_change', 'proposed', 'kind entry_id base_version digest proposed_by proposed_with decided_by decided_aal expires_at', 'reason decision_reason');
select private.audit_table('app.directory_entries', 'directory_entry', 'created', 'kind version change_id');
select private.audit_table('app.directory_details', 'directory_detail', 'added', 'entry_id type trusted_from change_id removed_by_change_id');
select private.audit_table('app.directory_settings', 'directory_settings', 'changed', 'version cooling_off_hours change_id');
select private.append_only('app.directory_settings');

-- Whether the caller holds a permission, for policies on what not every key may read.
create function private.holds(p_permission text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(p_permission = any ((private.current_principal()).permissions), false)
$$;

alter table app.directory_changes enable row level security;
alter table app.directory_changes force row level security;
alter table app.directory_entries enable row level security;
alter table app.directory_entries force row level security;
alter table app.directory_details enable row level security;
alter table app.directory_details force row level security;
alter table app.directory_settings enable row level security;
alter table app.directory_settings force row level security;
create policy "who may read the directory reads the changes of their environment" on app.directory_changes for select to authenticated
    using (tenant_id = (select private.current_tenant()) and (select private.holds('directory.read'))
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));
create policy "who may read the directory reads the entries of their environment" on app.directory_entries for select to authenticated
    using (tenant_id = (select private.current_tenant()) and (select private.holds('directory.read'))
        and environment = coalesce((select private.current_environment()), environment));
create policy "who may read the directory reads the details of their environment" on app.directory_details for select to authenticated
    using (tenant_id = (select private.current_tenant()) and (select private.holds('directory.read'))
        and environment = coalesce((select private.current_environment()), environment));
create policy "who may read the directory reads its settings" on app.directory_settings for select to authenticated
    using (tenant_id = (select private.current_tenant()) and (select private.holds('directory.read')));
grant select on app.directory_changes, app.directory_entries, app.directory_details, app.directory_settings to authenticated;

revoke all on all functions in schema app, private from public;
grant execute on function private.holds to authenticated;
