-- What becomes critical is called so: an incident that somebody called little, or in another environment, hides no critical alert.

-- One per matter and environment: what a key of the sandbox opened about something of the whole organisation is not the organisation's.
drop index app.incidents_one_unresolved;
create unique index incidents_one_unresolved on app.incidents (tenant_id, subject_type, subject_id, (coalesce(environment, '')))
    where status in ('open', 'acknowledged', 'contained');

-- As before, but that a critical alert makes an incident critical that was called less; and what a first entry names is there, whoever
-- writes the row.
create or replace function private.guard_incident() returns trigger
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

-- As before, but that what an alert did is not called somebody's.
create or replace function private.tell_of_incident() returns trigger
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

-- Opens an incident, in the caller's environment or that of what it is about. One about an alert is about what the alert is about.
-- args: {id, title, description?, severity, environment?, owner_id?, subject_type?, subject_id?}
create or replace function app.open_incident_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('incidents.open');
    v_of constant text := case when p_args ->> 'subject_type' is null then ''
        else private.environment_of(v_principal.tenant_id, p_args ->> 'subject_type', p_args ->> 'subject_id') end;
    v_environment text := coalesce(p_args ->> 'environment', nullif(v_of, ''), v_principal.environment);
    v_type text := p_args ->> 'subject_type';
    v_id text := p_args ->> 'subject_id';
    v_open uuid;
    v_incident app.incidents;
begin
    if v_of is null or v_of <> '' and v_of is distinct from coalesce(v_principal.environment, v_of) then
        perform private.fail(404, 'not_found', 'There is no such thing to open an incident about.');
    elsif v_of <> '' and v_of <> v_environment then
        perform private.fail(422, 'wrong_environment', format('What it is about is in %s.', v_of));
    elsif v_principal.kind = 'service' and (select count(*) from app.incidents where tenant_id = v_principal.tenant_id
        and status in ('open', 'acknowledged', 'contained') and opened_by = private.acting()) >= 20 then
        perform private.fail(409, 'too_many_incidents', 'This service account has 20 incidents open; note what you see on one of them.');
    end if;
    if v_type = 'alert' then
        select subject_type, subject_id into v_type, v_id from app.alerts where tenant_id = v_principal.tenant_id and id = v_id::uuid;
    end if;
    insert into app.incidents (tenant_id, id, environment, severity, title, description, subject_type, subject_id, owner_id, link_type, link_id)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, v_environment, p_args ->> 'severity', p_args ->> 'title',
        coalesce(p_args ->> 'description', ''), v_type, v_id,
        coalesce((p_args ->> 'owner_id')::uuid, case when 'incidents.manage' = any (v_principal.permissions) then v_principal.id end,
            private.first_owner(v_principal.tenant_id)), p_args ->> 'subject_type', p_args ->> 'subject_id')
    on conflict (tenant_id, subject_type, subject_id, (coalesce(environment, ''))) where status in ('open', 'acknowledged', 'contained') do nothing
    returning * into v_incident;
    if v_incident.id is null then
        select id into v_open from app.incidents where tenant_id = v_principal.tenant_id and subject_type = v_type and subject_id = v_id
            and status in ('open', 'acknowledged', 'contained') and environment is not distinct from v_environment;
        perform private.fail(409, 'incident_open', format('There is an incident about this already; note on it what you know: %s.', v_open));
    end if;
    return private.incident_document(v_incident);
end
$$;

-- The incident about a subject that nobody has ended yet: of the same environment, or of the organisation as a whole.
create function private.unresolved_about(p_tenant uuid, p_environment text, p_type text, p_id text) returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select id from app.incidents where tenant_id = p_tenant and subject_type = p_type and subject_id = p_id
        and status in ('open', 'acknowledged', 'contained') and (environment is null or environment = p_environment)
    order by environment nulls last limit 1
$$;

-- An incident about a subject, for something critical that has just been found: the one that is open, which the alert joins and makes
-- critical, or a new one. p_turned: it is critical only now; what merely happens again joins once, and leaves alone what a person has said
-- of it since. It never undoes what it is about: where nothing can be opened, nothing is. No role may execute this: triggers call it.
drop function private.incident_about(uuid, text, text, text, text, uuid, text, text);
create function private.incident_about(p_tenant uuid, p_environment text, p_subject_type text, p_subject_id text, p_title text, p_owner uuid,
    p_link_type text, p_link_id text, p_turned boolean)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_owner constant uuid := coalesce((select user_id from app.members where tenant_id = p_tenant and user_id = p_owner), private.first_owner(p_tenant));
    v_incident uuid := private.unresolved_about(p_tenant, p_environment, p_subject_type, p_subject_id);
    v_joins boolean;
begin
    if v_owner is null then
        return;
    elsif v_incident is null then
        insert into app.incidents (tenant_id, environment, severity, title, subject_type, subject_id, owner_id, link_type, link_id)
        values (p_tenant, p_environment, 'critical', coalesce(nullif(left(trim(p_title), 200), ''), 'Something critical'), p_subject_type,
            p_subject_id, v_owner, p_link_type, p_link_id)
        on conflict (tenant_id, subject_type, subject_id, (coalesce(environment, ''))) where status in ('open', 'acknowledged', 'contained') do nothing
        returning id into v_incident;
        if v_incident is not null then
            return;
        end if;
        v_incident := private.unresolved_about(p_tenant, p_environment, p_subject_type, p_subject_id);
    end if;
    v_joins := v_incident is not null and not exists (select from app.incident_entries where tenant_id = p_tenant
        and incident_id = v_incident and link_type = p_link_type and link_id = p_link_id);
    if v_joins then
        insert into app.incident_entries (tenant_id, incident_id, kind, text, link_type, link_id, written_by)
        values (p_tenant, v_incident, 'alert_joined', left(p_title, 300), p_link_type, p_link_id, 'system:alerts');
    end if;
    if v_joins or p_turned then
        update app.incidents set severity = 'critical', said = 'A critical alert about it says so.', link_type = null, link_id = null
            where tenant_id = p_tenant and id = v_incident and severity <> 'critical' and status in ('open', 'acknowledged', 'contained');
    end if;
end
$$;

create or replace function private.alert_is_incident() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.incident_about(new.tenant_id, new.environment, new.subject_type, new.subject_id, new.title, new.owner_id, 'alert', new.id::text,
        tg_op = 'INSERT' or old.severity <> 'critical');
    return null;
end
$$;

create or replace function private.stop_is_incident() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.incident_about(new.tenant_id, null, 'kill_switch', new.id::text, 'The whole organisation was stopped', new.engaged_by,
        'kill_switch', new.id::text, true);
    return null;
end
$$;

revoke all on all functions in schema app, private from public;
