-- Incidents: what went so wrong that somebody has to answer for it, what was done about it and when, and what was learned.

-- To say that something is wrong is for everybody, keys included: an integrator's own monitoring may see it first. To say that it is over,
-- and what is to be learned, is for people.
insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('incidents.read', '{owner,admin,approver,operator,developer,auditor}', true, true, false, 'read incidents and their reviews'),
    ('incidents.open', '{owner,admin,approver,operator,developer}', true, false, false, 'open incidents and note what is known'),
    ('incidents.manage', '{owner,admin,approver,operator}', false, false, false, 'contain and resolve incidents, hand them over'),
    ('incidents.review', '{owner,admin,approver}', false, false, false, 'review incidents that somebody else resolved');
alter table private.permissions add constraint incidents_are_ended_by_people
    check (not (service or system) or permission not in ('incidents.manage', 'incidents.review'));

-- The environment of what an incident is about or an entry names, '' where it has none; null when the tenant has no such thing.
create function private.environment_of(p_tenant uuid, p_type text, p_id text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
begin
    if p_id is null or p_id !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        return null;
    end if;
    v_id := p_id::uuid;
    return case p_type
        when 'alert' then (select coalesce(environment, '') from app.alerts where tenant_id = p_tenant and id = v_id)
        when 'action' then (select environment from app.actions where tenant_id = p_tenant and id = v_id)
        when 'run' then (select environment from app.runs where tenant_id = p_tenant and id = v_id)
        when 'exception' then (select environment from app.exceptions where tenant_id = p_tenant and id = v_id)
        when 'connection' then (select environment from app.connections where tenant_id = p_tenant and id = v_id)
        when 'kill_switch' then (select '' from app.kill_switches where tenant_id = p_tenant and id = v_id)
        when 'incident' then (select coalesce(environment, '') from app.incidents where tenant_id = p_tenant and id = v_id)
        end;
end
$$;

-- What is known of it at the beginning does not change; what becomes known later is noted. `said` and `link_*` belong to the last change
-- of the row, from which its entry in the timeline is made.
create table app.incidents (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    environment text check (environment in ('sandbox', 'production')),   -- null: of the tenant as a whole
    severity text not null check (severity in ('low', 'medium', 'high', 'critical')),
    title text not null check (length(trim(title)) between 1 and 200),
    description text not null default '' check (length(description) <= 10000),
    subject_type text check (length(subject_type) between 1 and 60),
    subject_id text check (length(subject_id) between 1 and 200),
    owner_id uuid not null,     -- the member who answers for it
    status text not null default 'open' check (status in ('open', 'acknowledged', 'contained', 'resolved', 'reviewed')),
    said text not null default '' check (length(said) <= 2000),
    link_type text,
    link_id text,
    opened_by text not null default '',
    opened_at timestamptz not null default now(),
    acknowledged_by text,
    acknowledged_at timestamptz,
    contained_by text,
    contained_at timestamptz,
    resolved_by text,
    resolved_at timestamptz,
    reviewed_by text,
    reviewed_at timestamptz,
    primary key (tenant_id, id),
    constraint subject_is_whole check ((subject_type is null) = (subject_id is null)),
    constraint link_is_whole check ((link_type is null) = (link_id is null))
);
-- One per matter and environment, however often it is told of while nobody has ended it. What a key of the sandbox opened about something
-- of the whole organisation is not the organisation's.
create unique index incidents_one_unresolved on app.incidents (tenant_id, subject_type, subject_id, (coalesce(environment, '')))
    where status in ('open', 'acknowledged', 'contained');
create index incidents_by_time on app.incidents (tenant_id, opened_at desc, id desc);
create index incidents_by_status on app.incidents (tenant_id, status, opened_at desc, id desc);
create index incidents_by_subject on app.incidents (tenant_id, subject_type, subject_id, opened_at desc);

-- The timeline. What happened to the incident itself is written by its trigger; people and keys add notes.
create table app.incident_entries (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    incident_id uuid not null,
    environment text check (environment in ('sandbox', 'production')),
    kind text not null check (kind in ('opened', 'acknowledged', 'contained', 'resolved', 'reviewed', 'note', 'alert_joined',
        'owner_changed', 'severity_changed', 'follow_up_added', 'follow_up_closed')),
    text text not null default '' check (length(text) <= 2000),
    digest text not null,
    link_type text,
    link_id text,
    before text check (length(before) <= 200),
    after text check (length(after) <= 200),
    written_by text not null,
    created_at timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, incident_id) references app.incidents (tenant_id, id),
    constraint link_is_whole check ((link_type is null) = (link_id is null)),
    constraint a_note_says_something check (kind <> 'note' or length(trim(text)) > 0 or link_type is not null)
);
create index incident_entries_by_time on app.incident_entries (tenant_id, incident_id, created_at desc, id desc);
create index incident_entries_by_link on app.incident_entries (tenant_id, link_type, link_id) where link_type is not null;

-- A person of the tenant with the permission, or nobody.
create function private.require_person(p_permission text, p_tenant uuid) returns private.principal
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require(p_permission);
begin
    if v_principal.kind <> 'user' or v_principal.tenant_id <> p_tenant then
        perform private.fail(403, 'people_only', 'Only a person of the organisation does this.');
    end if;
    return v_principal;
end
$$;

-- Whoever is to answer for something is a member, and stays one until this is done: who is named while being removed is either named before,
-- and what was named for them handed over, or refused.
create function private.require_answerer(p_tenant uuid, p_user uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from app.members where tenant_id = p_tenant and user_id = p_user for key share;
    if not found then
        perform private.fail(422, 'not_a_member', 'Only a member of this organisation can answer for it.');
    end if;
end
$$;

create function private.digest_of(p_text text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select 'sha256:' || encode(sha256(convert_to(p_text, 'UTF8')), 'hex')
$$;

-- What an entry names is there, and in the incident's environment, or a key's own where the incident has none.
create function private.require_link(p_incident app.incidents, p_environment text, p_type text, p_id text) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_of constant text := private.environment_of(p_incident.tenant_id, p_type, p_id);
begin
    if p_type is not null and (v_of is null or v_of <> '' and v_of <> coalesce(p_incident.environment, p_environment, v_of)) then
        perform private.fail(422, 'unknown_link', 'There is no such thing in this incident''s environment.');
    end if;
end
$$;

-- Whether a member's role holds a permission; false of who is no member.
create function private.holds(p_tenant uuid, p_user uuid, p_permission text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.members m join private.permissions p on p.permission = p_permission and m.role = any (p.roles)
        where m.tenant_id = p_tenant and m.user_id = p_user)
$$;

-- open -> acknowledged -> contained -> resolved -> reviewed, forward only. A step before `resolved` may be left out; `reviewed` follows
-- `resolved` alone, and the review. Whoever took a step, and when, is what the database sees. A critical alert makes an incident critical that
-- was called less; what somebody who is no member any more answered for is handed over, whoever does it, and what a new role may not work on
-- by the change of the role; and what a first entry names is there, whoever writes the row.
create function private.guard_incident() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_steps constant text[] := '{open,acknowledged,contained,resolved,reviewed}';
    v_step integer := array_position(v_steps, new.status);
    v_principal private.principal;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'An incident is never deleted.');
    elsif tg_op = 'INSERT' then
        if new.status <> 'open' then
            perform private.fail(409, 'invalid_transition', 'An incident begins open.');
        end if;
        new.acknowledged_by := null; new.acknowledged_at := null; new.contained_by := null; new.contained_at := null;
        new.resolved_by := null; new.resolved_at := null; new.reviewed_by := null; new.reviewed_at := null;
        new.opened_at := clock_timestamp();
        -- Within a trigger: something critical opens one by itself, whoever brought it about.
        if pg_trigger_depth() > 1 then
            new.opened_by := 'system:alerts';
            return new;
        end if;
        v_principal := private.require('incidents.open');
        if v_principal.tenant_id <> new.tenant_id then
            perform private.fail(403, 'other_tenant', 'An incident is opened within one''s own tenant.');
        end if;
        perform private.require_environment(v_principal, new.environment);
        perform private.require_answerer(new.tenant_id, new.owner_id);
        perform private.require_link(new, v_principal.environment, new.link_type, new.link_id);
        new.opened_by := private.acting();
        return new;
    elsif pg_trigger_depth() > 1 and new.severity = 'critical' and old.severity <> 'critical' and new.status = old.status
        and new.owner_id = old.owner_id and old.status in ('open', 'acknowledged', 'contained') then
        return private.stamped_incident(old, new);
    elsif old.status <> 'reviewed' and new.owner_id <> old.owner_id
        and (new.status, new.severity) is not distinct from (old.status, old.severity)
        and (not exists (select from app.members where tenant_id = old.tenant_id and user_id = old.owner_id)
            or pg_trigger_depth() > 1 and not private.holds(old.tenant_id, old.owner_id, 'incidents.manage')) then
        perform private.require_answerer(new.tenant_id, new.owner_id);
        return private.stamped_incident(old, new);
    end if;
    perform private.require_person(case when new.status = 'reviewed' then 'incidents.review' else 'incidents.manage' end, new.tenant_id);
    if new.status = old.status then
        perform private.guard_incident_change(old, new);
    elsif v_step <= array_position(v_steps, old.status) or (new.status = 'reviewed') <> (old.status = 'resolved') then
        perform private.fail(409, 'invalid_transition', format('An incident that is %s does not become %s.', old.status, new.status));
    elsif (new.owner_id, new.severity) is distinct from (old.owner_id, old.severity) then
        perform private.fail(409, 'invalid_transition', 'One thing at a time: a step, or who answers for it, or how bad it is.');
    elsif new.status in ('contained', 'resolved') and length(trim(new.said)) = 0 then
        perform private.fail(422, 'reason_needed', 'Say how it was contained, or why it is over.');
    elsif new.status = 'reviewed' and not exists (select from app.incident_reviews
        where tenant_id = new.tenant_id and incident_id = new.id) then
        perform private.fail(409, 'invalid_transition', 'An incident is reviewed by its review.');
    end if;
    perform private.require_link(old, null, new.link_type, new.link_id);
    return private.stamped_incident(old, new);
end
$$;

-- What may change beside the status: who answers for it, until it is reviewed; and how bad it is, until it is resolved, with a reason.
create function private.guard_incident_change(p_old app.incidents, p_new app.incidents) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if (p_new.owner_id, p_new.severity) is not distinct from (p_old.owner_id, p_old.severity) then
        perform private.fail(409, 'immutable_column', 'An incident changes by a step, or in who answers for it or how bad it is.');
    elsif p_old.status = 'reviewed' then
        perform private.fail(409, 'invalid_transition', 'The incident is reviewed; it stays as it is.');
    elsif p_new.severity <> p_old.severity and p_old.status = 'resolved' then
        perform private.fail(409, 'invalid_transition', 'The incident is resolved; how bad it was stays.');
    elsif p_new.severity <> p_old.severity and length(trim(p_new.said)) = 0 then
        perform private.fail(422, 'reason_needed', 'Say why it is worse or less bad than it was thought to be.');
    elsif p_new.owner_id <> p_old.owner_id then
        perform private.require_answerer(p_new.tenant_id, p_new.owner_id);
    end if;
end
$$;

-- Who and when of each step: of the one that is taken now, the caller; of the others, as it was. Whoever contains or resolves what nobody
-- had acknowledged has acknowledged it thereby.
create function private.stamped_incident(p_old app.incidents, p_new app.incidents) returns app.incidents
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_by constant text := private.acting();
    v_at constant timestamptz := clock_timestamp();
    v_moved constant boolean := p_new.status <> p_old.status;
begin
    p_new.acknowledged_by := coalesce(p_old.acknowledged_by, case when v_moved then v_by end);
    p_new.acknowledged_at := coalesce(p_old.acknowledged_at, case when v_moved then v_at end);
    p_new.contained_by := case when v_moved and p_new.status = 'contained' then v_by else p_old.contained_by end;
    p_new.contained_at := case when v_moved and p_new.status = 'contained' then v_at else p_old.contained_at end;
    p_new.resolved_by := case when v_moved and p_new.status = 'resolved' then v_by else p_old.resolved_by end;
    p_new.resolved_at := case when v_moved and p_new.status = 'resolved' then v_at else p_old.resolved_at end;
    p_new.reviewed_by := case when v_moved and p_new.status = 'reviewed' then v_by else p_old.reviewed_by end;
    p_new.reviewed_at := case when v_moved and p_new.status = 'reviewed' then v_at else p_old.reviewed_at end;
    return p_new;
end
$$;

-- Writes what became of the incident into its timeline, whoever changed the row; what an alert did is not called somebody's.
create function private.tell_of_incident() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_by constant text := case tg_op when 'INSERT' then new.opened_by else private.acting() end;
begin
    if tg_op = 'INSERT' or new.status <> old.status then
        insert into app.incident_entries (tenant_id, incident_id, kind, text, link_type, link_id, before, after, written_by)
        values (new.tenant_id, new.id, case tg_op when 'INSERT' then 'opened' else new.status end, new.said, new.link_type, new.link_id,
            case tg_op when 'UPDATE' then old.status end, new.status, v_by);
        return null;
    end if;
    if new.owner_id <> old.owner_id then
        insert into app.incident_entries (tenant_id, incident_id, kind, text, before, after, written_by)
        values (new.tenant_id, new.id, 'owner_changed', new.said, old.owner_id, new.owner_id, v_by);
    end if;
    if new.severity <> old.severity then
        insert into app.incident_entries (tenant_id, incident_id, kind, text, before, after, written_by)
        values (new.tenant_id, new.id, 'severity_changed', new.said, old.severity, new.severity,
            case when pg_trigger_depth() > 1 then 'system:alerts' else v_by end);
    end if;
    return null;
end
$$;

-- By hand there are notes only, in the writer's own name, of now, and naming what is there: in the incident's environment, if it has one.
create function private.guard_incident_entry() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_incident app.incidents;
begin
    select * into v_incident from app.incidents where tenant_id = new.tenant_id and id = new.incident_id;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such incident.');
    end if;
    if pg_trigger_depth() < 2 then
        v_principal := private.require('incidents.open');
        if v_principal.tenant_id <> new.tenant_id then
            perform private.fail(403, 'other_tenant', 'A note is written within one''s own tenant.');
        elsif new.kind <> 'note' then
            perform private.fail(403, 'invalid_entry', 'Only notes are written by hand; the rest follows from what is done.');
        elsif v_principal.kind = 'service' and (select count(*) from app.incident_entries where tenant_id = new.tenant_id
            and incident_id = new.incident_id and kind = 'note' and written_by like 'service:%') >= 100 then
            perform private.fail(409, 'too_many_notes', 'Keys have written 100 notes on this incident; a person goes on from here.');
        end if;
        perform private.require_environment(v_principal, coalesce(v_incident.environment, v_principal.environment));
        perform private.require_link(v_incident, v_principal.environment, new.link_type, new.link_id);
        new.written_by := private.acting();
    end if;
    new.environment := coalesce(v_incident.environment, nullif(private.environment_of(new.tenant_id, new.link_type, new.link_id), ''));
    new.digest := private.digest_of(new.text);
    new.created_at := clock_timestamp();
    return new;
end
$$;

create trigger incidents_guard before insert or update or delete on app.incidents
    for each row execute function private.guard_incident();
create trigger incidents_keep_columns before update on app.incidents
    for each row execute function private.keep_columns('severity', 'owner_id', 'status', 'said', 'link_type', 'link_id', 'acknowledged_by',
        'acknowledged_at', 'contained_by', 'contained_at', 'resolved_by', 'resolved_at', 'reviewed_by', 'reviewed_at');
create trigger incidents_tell after insert or update on app.incidents
    for each row execute function private.tell_of_incident();
create trigger incident_entries_guard before insert on app.incident_entries
    for each row execute function private.guard_incident_entry();

-- The log says who did what and when, and by digests which words were said; the words themselves are here.
select private.audit_table('app.incidents', 'incident', 'opened', 'severity title owner_id subject_type subject_id opened_by');
select private.audit_table('app.incident_entries', 'incident_entry', 'added', 'incident_id kind digest link_type link_id before after written_by');
select private.append_only('app.incident_entries');
select private.guard_table('app.incidents');

alter table app.incidents enable row level security;
alter table app.incidents force row level security;
create policy "members read their tenant's incidents of their environment" on app.incidents for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));
alter table app.incident_entries enable row level security;
alter table app.incident_entries force row level security;
create policy "members read their tenant's timelines of their environment" on app.incident_entries for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));
grant select on app.incidents, app.incident_entries to authenticated;

revoke all on all functions in schema app, private from public;
