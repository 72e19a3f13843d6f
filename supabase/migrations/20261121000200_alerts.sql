-- Alerts: what somebody has to know and do something about. Any slice raises them; people acknowledge them.

-- Held by people only: to acknowledge is to say "I am on it", which no key and no schedule can.
insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('alerts.read', '{owner,admin,approver,operator,developer,auditor}', true, true, false, 'read alerts'),
    ('alerts.acknowledge', '{owner,admin,approver,operator,developer}', false, false, false, 'acknowledge and resolve alerts'),
    ('alerts.raise', '{}', false, true, false, 'raise and resolve alerts');
alter table private.permissions add constraint alerts_are_acknowledged_by_people
    check (not (service or system) or permission <> 'alerts.acknowledge');

-- Whether something is fit for everybody in the tenant to see: a small object with nothing in it that looks like a credential.
create function private.may_be_shown(p_detail jsonb) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select jsonb_typeof(p_detail) = 'object' and length(p_detail::text) <= 8000
        and p_detail::text !~* '(cs_(live|sandbox)_[0-9a-f]{32}_|bearer [a-z0-9._-]{8}|"(access|refresh)_token")'
$$;

-- `detail` is shown to everybody in the tenant: ids, counts and times, never a secret.
create table app.alerts (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    environment text check (environment in ('sandbox', 'production')),   -- null: of the tenant as a whole
    kind text not null check (kind ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),    -- connection.expired
    severity text not null check (severity in ('info', 'warning', 'critical')),
    subject_type text not null check (length(subject_type) between 1 and 60),
    subject_id text not null check (length(subject_id) between 1 and 200),
    title text not null check (length(title) between 1 and 300),
    detail jsonb not null default '{}' check (private.may_be_shown(detail)),
    owner_id uuid,              -- the member who answers for it
    contact text check (length(contact) <= 320),   -- or a named contact
    status text not null default 'open' check (status in ('open', 'acknowledged', 'resolved')),
    occurrences integer not null default 1,
    raised_by text not null default '',
    raised_at timestamptz not null default now(),
    last_raised_at timestamptz not null default now(),
    acknowledged_by uuid,
    acknowledged_at timestamptz,
    acknowledgement text check (length(acknowledgement) <= 2000),
    resolved_by text,
    resolved_at timestamptz,
    resolution text check (length(resolution) <= 2000),
    primary key (tenant_id, id)
);
-- One alert per matter: whatever happens again while it is not resolved is counted on it.
create unique index alerts_one_unresolved on app.alerts (tenant_id, kind, subject_type, subject_id) where status <> 'resolved';
create index alerts_by_time on app.alerts (tenant_id, raised_at desc, id desc);

-- Who acts, as one word: `user:<id>`, `service:<id>`, `system:<function>`, `database:<login>`.
create function private.acting() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select (p ->> 'kind') || ':' || (p ->> 'id') from private.audit_principal() p
$$;

create function private.severity_rank(p_severity text) returns integer
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select array_position(array['info', 'warning', 'critical'], p_severity)
$$;

-- open -> acknowledged -> resolved, open -> resolved. What gets worse is open again; what is resolved stays so.
-- Who raised, acknowledged and resolved it is whoever the database sees, whatever the row says.
create function private.guard_alert() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'An alert is never deleted.');
    elsif tg_op = 'INSERT' then
        if new.status <> 'open' or new.acknowledged_by is not null or new.resolved_at is not null then
            perform private.fail(409, 'invalid_transition', 'An alert begins open.');
        end if;
        new.raised_by := private.acting();
        return new;
    elsif old.status = 'resolved' then
        perform private.fail(409, 'invalid_transition', 'The alert is resolved; what happens again is another one.');
    elsif new.occurrences < old.occurrences or private.severity_rank(new.severity) < private.severity_rank(old.severity) then
        perform private.fail(409, 'invalid_transition', 'An alert gets worse or is resolved.');
    elsif new.status = 'acknowledged' and old.status = 'open' then
        v_principal := private.require('alerts.acknowledge');
        if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id then
            perform private.fail(403, 'people_only', 'A person acknowledges an alert.');
        end if;
        new.acknowledged_by := v_principal.id;
        new.acknowledged_at := clock_timestamp();
    elsif new.status = 'open' and old.status = 'acknowledged' and private.severity_rank(new.severity) <= private.severity_rank(old.severity) then
        perform private.fail(409, 'invalid_transition', 'Only what gets worse is open again.');
    elsif (new.acknowledged_by, new.acknowledged_at) is distinct from (old.acknowledged_by, old.acknowledged_at) then
        perform private.fail(409, 'immutable_column', 'Who acknowledged an alert, and when, stays.');
    elsif new.status = 'resolved' then
        new.resolved_by := private.acting();
        new.resolved_at := clock_timestamp();
    end if;
    return new;
end
$$;
create trigger alerts_guard before insert or update or delete on app.alerts
    for each row execute function private.guard_alert();
create trigger alerts_keep_columns before update on app.alerts
    for each row execute function private.keep_columns('severity', 'title', 'detail', 'owner_id', 'contact', 'status', 'occurrences',
        'last_raised_at', 'acknowledged_by', 'acknowledged_at', 'acknowledgement', 'resolved_by', 'resolved_at', 'resolution');

-- What merely counts up is no event: an alert that is raised every minute must not fill the log.
create or replace function private.audit_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_new jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
    v_old jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    v_bookkeeping constant text[] := '{updated_at, control_epoch, refresh_lease_until, occurrences, last_raised_at}';
    v_word text;
    v_what jsonb;
    v_why jsonb;
begin
    if tg_op = 'INSERT' then
        v_word := tg_argv[1];
    elsif tg_op = 'DELETE' then
        v_word := 'removed';
    elsif v_new - v_bookkeeping = v_old - v_bookkeeping then
        return null;
    elsif v_new ->> 'status' is distinct from v_old ->> 'status' then
        v_word := v_new ->> 'status';
    else
        v_word := 'updated';
    end if;
    -- Inline and not in a function of its own, which would cost more than all the rest of this.
    select jsonb_object_agg(key, value) filter (where key = any (string_to_array(tg_argv[2], ' '))),
        jsonb_object_agg(key, value) filter (where key = any (string_to_array(tg_argv[3], ' ')))
    into v_what, v_why from jsonb_each(v_new) where value <> 'null'::jsonb;
    insert into app.audit_events (tenant_id, record) values ((v_new ->> 'tenant_id')::uuid, jsonb_strip_nulls(jsonb_build_object(
        'type', tg_argv[0] || '.' || v_word,
        'subject', jsonb_build_object('type', tg_argv[0], 'id', coalesce(v_new ->> 'id', v_new ->> 'user_id', v_new ->> 'version', v_new ->> 'connection_id', v_new ->> 'tenant_id')),
        'environment', v_new ->> 'environment',
        'run_id', case when tg_argv[0] = 'run' then v_new ->> 'id' else v_new ->> 'run_id' end,
        'action_id', case when tg_argv[0] = 'action' then v_new ->> 'id' else v_new ->> 'action_id' end,
        'before', v_old ->> 'status', 'after', v_new ->> 'status',
        'what', v_what, 'why', v_why))::text);
    return null;
end
$$;
select private.audit_table('app.alerts', 'alert', 'raised', 'kind severity subject_type subject_id title owner_id contact',
    'detail acknowledgement resolution');

alter table app.alerts enable row level security;
alter table app.alerts force row level security;
create policy "members read their tenant's alerts of their environment" on app.alerts for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));
grant select on app.alerts to authenticated;

-- Raises an alert, in the transaction of what it is about; again while it is not resolved, counts it there, with the
-- newest title and detail and the worst severity. What gets worse is open again. A detail that may not be shown is left out:
-- an alert must never undo what it is about. No role may execute this: functions call it.
create function private.raise_alert(p_tenant uuid, p_environment text, p_kind text, p_severity text, p_subject_type text, p_subject_id text,
    p_title text, p_detail jsonb default '{}', p_owner uuid default null, p_contact text default null)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
    v_detail jsonb := coalesce(p_detail, '{}');
begin
    if not private.may_be_shown(v_detail) then
        v_detail := '{"withheld": true}';
    end if;
    insert into app.alerts as a (tenant_id, environment, kind, severity, subject_type, subject_id, title, detail, owner_id, contact)
    values (p_tenant, p_environment, p_kind, p_severity, p_subject_type, p_subject_id, left(p_title, 300), v_detail, p_owner, p_contact)
    on conflict (tenant_id, kind, subject_type, subject_id) where status <> 'resolved' do update set
        occurrences = a.occurrences + 1, last_raised_at = now(), title = excluded.title, detail = excluded.detail,
        owner_id = coalesce(excluded.owner_id, a.owner_id), contact = coalesce(excluded.contact, a.contact),
        severity = case when private.severity_rank(excluded.severity) > private.severity_rank(a.severity) then excluded.severity else a.severity end,
        status = case when private.severity_rank(excluded.severity) > private.severity_rank(a.severity) then 'open' else a.status end
    returning a.id into v_id;
    return v_id;
end
$$;

-- Resolves what is not resolved yet of a subject: of one kind, or with a null of every kind. Answers how many.
create function private.resolve_alert(p_tenant uuid, p_kind text, p_subject_type text, p_subject_id text, p_resolution text)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_count integer;
begin
    update app.alerts set status = 'resolved', resolution = left(p_resolution, 2000)
        where tenant_id = p_tenant and kind = coalesce(p_kind, kind) and subject_type = p_subject_type and subject_id = p_subject_id
            and status <> 'resolved';
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

-- For scheduled functions that find something wrong from outside of the database.
-- args: {environment?, kind, severity, subject_type, subject_id, title, detail?, owner_id?, contact?}
create function app.raise_alert_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('alerts.raise');
begin
    return jsonb_build_object('id', private.raise_alert(v_principal.tenant_id, p_args ->> 'environment', p_args ->> 'kind', p_args ->> 'severity',
        p_args ->> 'subject_type', p_args ->> 'subject_id', p_args ->> 'title', p_args -> 'detail',
        (p_args ->> 'owner_id')::uuid, p_args ->> 'contact'));
end
$$;

-- What a scheduled function finds to be well again. args: {kind?, subject_type, subject_id, resolution}
create function app.clear_alert_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('alerts.raise');
begin
    return jsonb_build_object('resolved', private.resolve_alert(v_principal.tenant_id, p_args ->> 'kind', p_args ->> 'subject_type',
        p_args ->> 'subject_id', p_args ->> 'resolution'));
end
$$;

create function private.alert_document(p_alert app.alerts) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_alert.id, 'status', p_alert.status, 'acknowledged_by', p_alert.acknowledged_by,
        'acknowledged_at', p_alert.acknowledged_at, 'resolved_by', p_alert.resolved_by, 'resolved_at', p_alert.resolved_at)
$$;

-- A person takes an alert on. Once more changes nothing. args: {id, note?}
create function app.acknowledge_alert_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('alerts.acknowledge');
    v_alert app.alerts;
begin
    select * into v_alert from app.alerts where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such alert.');
    elsif v_alert.status = 'resolved' then
        perform private.fail(409, 'alert_resolved', 'The alert is resolved already.');
    elsif v_alert.status = 'open' then
        update app.alerts set status = 'acknowledged', acknowledgement = nullif(p_args ->> 'note', '')
            where tenant_id = v_alert.tenant_id and id = v_alert.id returning * into v_alert;
    end if;
    return private.alert_document(v_alert);
end
$$;

-- A person closes an alert, of something that no function can see to be well again. args: {id, reason}
create function app.resolve_alert_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('alerts.acknowledge');
    v_alert app.alerts;
begin
    select * into v_alert from app.alerts where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such alert.');
    elsif v_alert.status <> 'resolved' then
        update app.alerts set status = 'resolved', resolution = p_args ->> 'reason'
            where tenant_id = v_alert.tenant_id and id = v_alert.id returning * into v_alert;
    end if;
    return private.alert_document(v_alert);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.raise_alert_v1, app.clear_alert_v1, app.acknowledge_alert_v1, app.resolve_alert_v1 to authenticated;
