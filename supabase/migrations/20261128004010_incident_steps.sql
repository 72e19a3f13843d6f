-- Incidents: what people, keys and scheduled functions do about them, and what opens one by itself.

-- The tenant's incident, locked, for whoever sees it.
create function private.incident_for_update(p_principal private.principal, p_id uuid) returns app.incidents
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_incident app.incidents;
begin
    select * into v_incident from app.incidents where tenant_id = p_principal.tenant_id and id = p_id
        and (environment is null or environment = coalesce(p_principal.environment, environment)) for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such incident.');
    end if;
    return v_incident;
end
$$;

-- No words of people: stored answers hold nothing that would have to be erased.
create function private.incident_document(p_incident app.incidents) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_incident.id, 'status', p_incident.status, 'severity', p_incident.severity,
        'environment', p_incident.environment, 'owner_id', p_incident.owner_id,
        'opened_by', p_incident.opened_by, 'opened_at', p_incident.opened_at,
        'acknowledged_by', p_incident.acknowledged_by, 'acknowledged_at', p_incident.acknowledged_at,
        'contained_by', p_incident.contained_by, 'contained_at', p_incident.contained_at,
        'resolved_by', p_incident.resolved_by, 'resolved_at', p_incident.resolved_at,
        'reviewed_by', p_incident.reviewed_by, 'reviewed_at', p_incident.reviewed_at)
$$;

-- Who answers for what nobody in particular was named for: the owner who has been there longest.
create function private.first_owner(p_tenant uuid) returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select user_id from app.members where tenant_id = p_tenant and role = 'owner' order by created_at, user_id limit 1
$$;

-- Opens an incident, in the caller's environment or that of what it is about. One about an alert is about what the alert is about.
-- args: {id, title, description?, severity, environment?, owner_id?, subject_type?, subject_id?}
create function app.open_incident_v1(p_args jsonb) returns jsonb
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

-- A step: acknowledged, contained or resolved; whoever comes second is told where it stands. args: {id, status, reason?, link_type?, link_id?}
create function app.move_incident_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('incidents.manage');
    v_incident app.incidents := private.incident_for_update(v_principal, (p_args ->> 'id')::uuid);
    v_steps constant text[] := '{open,acknowledged,contained,resolved}';
    v_step constant integer := array_position(v_steps, p_args ->> 'status');
begin
    if v_step is null or v_step = 1 then
        perform private.fail(422, 'invalid_step', 'A step is acknowledged, contained or resolved; a review has a call of its own.');
    elsif v_step <= coalesce(array_position(v_steps, v_incident.status), 5) then
        perform private.fail(409, 'incident_moved', format('The incident is %s already; look at it again.', v_incident.status));
    end if;
    update app.incidents set status = p_args ->> 'status', said = coalesce(p_args ->> 'reason', ''),
        link_type = p_args ->> 'link_type', link_id = p_args ->> 'link_id'
        where tenant_id = v_incident.tenant_id and id = v_incident.id returning * into v_incident;
    return private.incident_document(v_incident);
end
$$;

-- Who answers for it, or how bad it is; the same once more changes nothing. args: {id, owner_id?, severity?, reason?}
create function app.change_incident_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('incidents.manage');
    v_incident app.incidents := private.incident_for_update(v_principal, (p_args ->> 'id')::uuid);
    v_owner constant uuid := coalesce((p_args ->> 'owner_id')::uuid, v_incident.owner_id);
    v_severity constant text := coalesce(p_args ->> 'severity', v_incident.severity);
begin
    if (v_owner, v_severity) is distinct from (v_incident.owner_id, v_incident.severity) then
        update app.incidents set owner_id = v_owner, severity = v_severity, said = coalesce(p_args ->> 'reason', ''), link_type = null, link_id = null
            where tenant_id = v_incident.tenant_id and id = v_incident.id returning * into v_incident;
    end if;
    return private.incident_document(v_incident);
end
$$;

-- Notes what is known, or what belongs to it, whatever its state. args: {id, incident_id, text?, link_type?, link_id?}
create function app.note_incident_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('incidents.open');
    v_incident app.incidents := private.incident_for_update(v_principal, (p_args ->> 'incident_id')::uuid);
    v_entry app.incident_entries;
begin
    insert into app.incident_entries (tenant_id, id, incident_id, kind, text, link_type, link_id)
    values (v_incident.tenant_id, (p_args ->> 'id')::uuid, v_incident.id, 'note', coalesce(p_args ->> 'text', ''),
        p_args ->> 'link_type', p_args ->> 'link_id') returning * into v_entry;
    return jsonb_build_object('id', v_entry.id, 'incident_id', v_entry.incident_id, 'kind', v_entry.kind,
        'written_by', v_entry.written_by, 'created_at', v_entry.created_at, 'digest', v_entry.digest);
end
$$;

-- Something to be done so that it does not come back. args: {id, incident_id, what, owner_id, due_on}
create function app.add_follow_up_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('incidents.manage');
    v_incident app.incidents := private.incident_for_update(v_principal, (p_args ->> 'incident_id')::uuid);
begin
    return private.add_follow_up(v_incident, p_args);
end
$$;

create function private.add_follow_up(p_incident app.incidents, p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_row app.incident_follow_ups;
begin
    insert into app.incident_follow_ups (tenant_id, id, incident_id, what, owner_id, due_on)
    values (p_incident.tenant_id, (p_args ->> 'id')::uuid, p_incident.id, p_args ->> 'what', (p_args ->> 'owner_id')::uuid,
        (p_args ->> 'due_on')::date) returning * into v_row;
    return private.follow_up_document(v_row);
end
$$;

create function private.follow_up_document(p_row app.incident_follow_ups) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_row.id, 'incident_id', p_row.incident_id, 'owner_id', p_row.owner_id, 'due_on', p_row.due_on,
        'status', p_row.status, 'created_by', p_row.created_by, 'created_at', p_row.created_at,
        'closed_by', p_row.closed_by, 'closed_at', p_row.closed_at)
$$;

-- Closes what was done, and with the last overdue one the alert about them. args: {id, incident_id, note}
create function app.close_follow_up_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('incidents.read');
    v_incident app.incidents := private.incident_for_update(v_principal, (p_args ->> 'incident_id')::uuid);
    v_row app.incident_follow_ups;
begin
    update app.incident_follow_ups set status = 'closed', closing_note = p_args ->> 'note'
        where tenant_id = v_incident.tenant_id and incident_id = v_incident.id and id = (p_args ->> 'id')::uuid returning * into v_row;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such follow-up.');
    end if;
    if not exists (select from app.incident_follow_ups where tenant_id = v_row.tenant_id and incident_id = v_row.incident_id
        and status = 'open' and overdue_at is not null) then
        perform private.resolve_alert(v_row.tenant_id, 'incident.follow_up_overdue', 'incident', v_row.incident_id::text,
            'No follow-up is overdue any more.');
    end if;
    return private.follow_up_document(v_row);
end
$$;

-- The review of what is resolved, with what is to be done about it; the incident is reviewed then.
-- args: {id, review_id, what_happened, root_cause, impact, went_well?, went_badly?, follow_ups?: [{id, what, owner_id, due_on}]}
create function app.review_incident_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('incidents.review');
    v_incident app.incidents := private.incident_for_update(v_principal, (p_args ->> 'id')::uuid);
    v_follow_up jsonb;
begin
    insert into app.incident_reviews (tenant_id, id, incident_id, what_happened, root_cause, impact, went_well, went_badly)
    values (v_incident.tenant_id, (p_args ->> 'review_id')::uuid, v_incident.id, p_args ->> 'what_happened', p_args ->> 'root_cause',
        p_args -> 'impact', coalesce(p_args ->> 'went_well', ''), coalesce(p_args ->> 'went_badly', ''));
    for v_follow_up in select value from jsonb_array_elements(coalesce(p_args -> 'follow_ups', '[]')) loop
        perform private.add_follow_up(v_incident, v_follow_up);
    end loop;
    select * into v_incident from app.incidents where tenant_id = v_incident.tenant_id and id = v_incident.id;
    return private.incident_document(v_incident);
end
$$;

-- Open follow-ups of any tenant whose day is over and of which nobody was told, the oldest first.
create function app.claim_overdue_follow_ups_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', f.tenant_id, 'id', f.id)), '[]') from (
        select tenant_id, id from app.incident_follow_ups where status = 'open' and overdue_at is null and due_on < (now() at time zone 'utc')::date
        order by due_on limit p_limit) f
$$;

-- Tells, once, that a follow-up is overdue: an alert about its incident, for whoever answers for the follow-up. args: {id}
create function app.tell_overdue_follow_up_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('alerts.raise');
    v_row app.incident_follow_ups;
begin
    update app.incident_follow_ups set overdue_at = clock_timestamp() where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid
        and status = 'open' and overdue_at is null and due_on < (now() at time zone 'utc')::date returning * into v_row;
    if not found then
        return '{"recorded": false}';
    end if;
    perform private.raise_alert(v_row.tenant_id, v_row.environment, 'incident.follow_up_overdue', 'warning', 'incident', v_row.incident_id::text,
        'What was to be done after an incident is overdue.',
        jsonb_build_object('follow_up_id', v_row.id, 'due_on', v_row.due_on, 'incident_id', v_row.incident_id),
        (select user_id from app.members where tenant_id = v_row.tenant_id and user_id = v_row.owner_id));
    return jsonb_build_object('recorded', true, 'id', v_row.id);
end
$$;

-- The incident about a subject that nobody has ended yet: of the same environment, or of the organisation as a whole.
create function private.unresolved_about(p_tenant uuid, p_environment text, p_type text, p_id text) returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select id from app.incidents where tenant_id = p_tenant and subject_type = p_type and subject_id = p_id
        and status in ('open', 'acknowledged', 'contained') and (environment is null or environment = p_environment)
    order by environment nulls last limit 1
$$;

-- The unresolved incident that something critical joins although it is about something else: the one that this alert joined before, or the
-- newest, once ten have opened by themselves in its environment within an hour. Null while there are fewer: an outage that
-- leaves hundreds of payments unknown is not hundreds of incidents, each to be contained, resolved and reviewed.
create function private.incident_of_flood(p_tenant uuid, p_environment text, p_link_type text, p_link_id text) returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(
        (select i.id from app.incident_entries e join app.incidents i on i.tenant_id = e.tenant_id and i.id = e.incident_id
            where e.tenant_id = p_tenant and e.link_type = p_link_type and e.link_id = p_link_id and e.kind = 'alert_joined'
                and i.status in ('open', 'acknowledged', 'contained') and i.environment is not distinct from p_environment
            order by e.created_at desc limit 1),
        (select (array_agg(n.id order by n.opened_at desc))[1] from (select id, opened_at from app.incidents
            where tenant_id = p_tenant and opened_at > clock_timestamp() - interval '1 hour' and opened_by = 'system:alerts'
                and status in ('open', 'acknowledged', 'contained') and environment is not distinct from p_environment) n
            having count(*) >= 10))
$$;

-- An incident about a subject, for something critical that has just been found: the one that is open, which the alert joins and makes
-- critical, or a new one; what comes in masses joins one of those that are open, but to stop the whole organisation is always one of its own.
-- p_turned: it is critical only now; what merely happens again joins once, and leaves alone what a person has said of it since. It never undoes
-- what it is about: where nothing can be opened, nothing is. No role may execute this: triggers call it.
create function private.incident_about(p_tenant uuid, p_environment text, p_subject_type text, p_subject_id text, p_title text, p_owner uuid,
    p_link_type text, p_link_id text, p_turned boolean)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_owner constant uuid := coalesce((select user_id from app.members where tenant_id = p_tenant and user_id = p_owner), private.first_owner(p_tenant));
    v_incident uuid := coalesce(private.unresolved_about(p_tenant, p_environment, p_subject_type, p_subject_id),
        case when p_link_type = 'alert' then private.incident_of_flood(p_tenant, p_environment, p_link_type, p_link_id) end);
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

-- Whatever is critical is an incident, from its first alert on. Another alert about the same joins it once; an alert that merely happens
-- again is counted on itself. One that happens again after its incident was ended is a new incident.
create function private.alert_is_incident() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.incident_about(new.tenant_id, new.environment, new.subject_type, new.subject_id, new.title, new.owner_id, 'alert', new.id::text,
        tg_op = 'INSERT' or old.severity <> 'critical');
    return null;
end
$$;
create trigger alerts_open_incident after insert or update of severity, occurrences on app.alerts
    for each row when (new.severity = 'critical' and new.status <> 'resolved') execute function private.alert_is_incident();
select private.guard_table('app.alerts');

-- To stop the whole organisation is an incident, too, and the switch is what contains it once a person says so.
create function private.stop_is_incident() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.incident_about(new.tenant_id, null, 'kill_switch', new.id::text, 'The whole organisation was stopped', new.engaged_by,
        'kill_switch', new.id::text, true);
    return null;
end
$$;
create trigger kill_switches_open_incident after insert on app.kill_switches
    for each row when (new.scope = 'tenant') execute function private.stop_is_incident();
select private.guard_table('app.kill_switches');

revoke all on all functions in schema app, private from public;
grant execute on function app.open_incident_v1, app.move_incident_v1, app.change_incident_v1, app.note_incident_v1, app.review_incident_v1,
    app.add_follow_up_v1, app.close_follow_up_v1, app.tell_overdue_follow_up_v1 to authenticated;
grant execute on function app.claim_overdue_follow_ups_v1 to countersign_worker;
