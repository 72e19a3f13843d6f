-- Whoever leaves leaves nothing ownerless: incidents, what is to be done after them, and alerts go to whoever answers for the workflow that
-- they are about, or for the organisation; and whoever that is hears of it.

-- The member who answers for what something is about: the owner that the workflow's spec names, or the owner who has been there longest.
create function private.answerer_for(p_tenant uuid, p_type text, p_id text) returns uuid
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_address text;
begin
    if p_type in ('run', 'action', 'exception', 'workflow') and p_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        or p_type = 'workflow_tool' and p_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/' then
        v_address := case p_type
            when 'run' then private.owner_of_run(p_tenant, p_id::uuid)
            when 'action' then (select private.owner_of_run(p_tenant, run_id) from app.actions where tenant_id = p_tenant and id = p_id::uuid)
            when 'exception' then (select private.owner_of_run(p_tenant, a.run_id) from app.exceptions e
                join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id where e.tenant_id = p_tenant and e.id = p_id::uuid)
            else (select v.spec ->> 'owner' from app.workflows w join app.workflow_versions v
                on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
                where w.tenant_id = p_tenant and w.id = split_part(p_id, '/', 1)::uuid)
        end;
    end if;
    return coalesce((select user_id from app.members where tenant_id = p_tenant and lower(email) = lower(v_address) order by user_id limit 1),
        private.first_owner(p_tenant));
end
$$;

-- As it was, and the member stays until this is done: who is named while being removed is either named before, and what was named for them
-- handed over, or refused.
create or replace function private.require_answerer(p_tenant uuid, p_user uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from app.members where tenant_id = p_tenant and user_id = p_user for key share;
    if not found then
        perform private.fail(422, 'not_a_member', 'Only a member of this organisation can answer for it.');
    end if;
end
$$;
alter function private.guard_incident_change(app.incidents, app.incidents) volatile;

-- As before, but that what somebody who is no member any more answered for is handed over, whoever does it.
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
    elsif old.status <> 'reviewed' and new.owner_id <> old.owner_id
        and (new.status, new.severity) is not distinct from (old.status, old.severity)
        and not exists (select from app.members where tenant_id = old.tenant_id and user_id = old.owner_id) then
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

-- As before, but that what somebody was to do who is no member any more is handed over, whoever does it.
create or replace function private.guard_follow_up() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_today constant date := (clock_timestamp() at time zone 'utc')::date;
    v_principal private.principal;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A follow-up is never deleted; close it and say why.');
    elsif tg_op = 'INSERT' then
        v_principal := private.require_person('incidents.manage', new.tenant_id);
        perform private.require_answerer(new.tenant_id, new.owner_id);
        if new.due_on not between v_today and v_today + 366 then
            perform private.fail(422, 'invalid_day', 'A follow-up is due today or later, and within a year.');
        elsif (select count(*) from app.incident_follow_ups where tenant_id = new.tenant_id and incident_id = new.incident_id) >= 100 then
            perform private.fail(409, 'too_many_follow_ups', 'An incident has 100 follow-ups at most.');
        end if;
        select environment into new.environment from app.incidents where tenant_id = new.tenant_id and id = new.incident_id;
        if not found then
            perform private.fail(404, 'not_found', 'There is no such incident.');
        end if;
        new.status := 'open'; new.overdue_at := null; new.closed_by := null; new.closed_at := null; new.closing_note := null;
        new.created_by := private.acting();
        new.created_at := clock_timestamp();
        return new;
    elsif new.owner_id <> old.owner_id then
        if old.status <> 'open' or new.status <> 'open' or new.overdue_at is distinct from old.overdue_at
            or exists (select from app.members where tenant_id = old.tenant_id and user_id = old.owner_id) then
            perform private.fail(409, 'immutable_column', 'A follow-up is handed over only because whoever was to do it has left.');
        end if;
        perform private.require_answerer(new.tenant_id, new.owner_id);
        new.closed_by := null; new.closed_at := null; new.closing_note := null;
        return new;
    elsif old.status = 'closed' then
        perform private.fail(409, 'follow_up_closed', 'The follow-up is closed already.');
    elsif new.status = 'open' then
        v_principal := private.require('alerts.raise');
        if v_principal.tenant_id <> new.tenant_id or old.overdue_at is not null or old.due_on >= v_today then
            perform private.fail(409, 'invalid_transition', 'It is told once that a follow-up is overdue, when it is.');
        end if;
        new.overdue_at := clock_timestamp(); new.closed_by := null; new.closed_at := null; new.closing_note := null;
        return new;
    end if;
    v_principal := private.require_person('incidents.read', new.tenant_id);
    if v_principal.id <> old.owner_id and not 'incidents.manage' = any (v_principal.permissions) then
        perform private.fail(403, 'permission_denied', 'Whoever answers for a follow-up closes it, or somebody who manages incidents.');
    elsif length(trim(coalesce(new.closing_note, ''))) = 0 then
        perform private.fail(422, 'reason_needed', 'Say what was done.');
    end if;
    new.closed_by := private.acting();
    new.closed_at := clock_timestamp();
    new.overdue_at := old.overdue_at;
    return new;
end
$$;

-- As before, and says who does it now.
create or replace function private.tell_of_follow_up() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' or new.status <> old.status then
        insert into app.incident_entries (tenant_id, incident_id, kind, text, after, written_by)
        values (new.tenant_id, new.incident_id, case tg_op when 'INSERT' then 'follow_up_added' else 'follow_up_closed' end,
            coalesce(new.closing_note, new.what), new.id, private.acting());
    elsif new.owner_id <> old.owner_id then
        insert into app.incident_entries (tenant_id, incident_id, kind, text, before, after, written_by)
        values (new.tenant_id, new.incident_id, 'owner_changed', left('Of what is to be done: ' || new.what, 2000), old.owner_id, new.owner_id,
            private.acting());
    end if;
    return null;
end
$$;

drop trigger incident_follow_ups_keep_columns on app.incident_follow_ups;
create trigger incident_follow_ups_keep_columns before update on app.incident_follow_ups
    for each row execute function private.keep_columns('owner_id', 'status', 'overdue_at', 'closed_by', 'closed_at', 'closing_note');
select private.guard_table('app.incident_follow_ups');

-- Hands over what whoever has just left answered for, in an order that is the same for everybody. What is reviewed, closed or resolved
-- keeps the name of who answered for it then. Live workflows that name them by their address are told of: what was approved is not rewritten.
create function private.hand_over(p_tenant uuid, p_user uuid, p_address text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_owner constant uuid := private.first_owner(p_tenant);
    v_incident app.incidents;
    v_incidents bigint := 0;
    v_follow_ups bigint;
    v_alerts bigint;
    v_workflows bigint;
begin
    if v_owner is null then
        return;  -- nobody is left at all
    end if;
    for v_incident in select * from app.incidents where tenant_id = p_tenant and owner_id = p_user and status <> 'reviewed'
        order by id for update loop
        update app.incidents set owner_id = private.answerer_for(p_tenant, v_incident.subject_type, v_incident.subject_id),
            said = 'Whoever answered for it has left the organisation.', link_type = null, link_id = null
            where tenant_id = p_tenant and id = v_incident.id;
        v_incidents := v_incidents + 1;
    end loop;
    update app.incident_follow_ups f set owner_id = i.owner_id from app.incidents i
        where i.tenant_id = f.tenant_id and i.id = f.incident_id and f.tenant_id = p_tenant and f.owner_id = p_user and f.status = 'open'
            and exists (select from app.members m where m.tenant_id = i.tenant_id and m.user_id = i.owner_id);
    get diagnostics v_follow_ups = row_count;
    update app.incident_follow_ups set owner_id = v_owner where tenant_id = p_tenant and owner_id = p_user and status = 'open';
    get diagnostics v_alerts = row_count;
    v_follow_ups := v_follow_ups + v_alerts;
    update app.alerts set owner_id = private.answerer_for(tenant_id, subject_type, subject_id)
        where tenant_id = p_tenant and owner_id = p_user and status <> 'resolved';
    get diagnostics v_alerts = row_count;
    select count(*) into v_workflows from app.workflows w join app.workflow_versions v
        on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
        where w.tenant_id = p_tenant and lower(p_address) in (lower(v.spec ->> 'owner'), lower(v.spec ->> 'escalation_contact'));
    if v_incidents + v_follow_ups + v_alerts + v_workflows > 0 then
        perform private.raise_alert(p_tenant, null, 'incident.owner_left', 'warning', 'member', p_user::text,
            format('A member who has left answered for incidents (%s), follow-ups (%s) and alerts (%s), which were handed over; '
                'live workflows that name them (%s) need another in a new version.', v_incidents, v_follow_ups, v_alerts, v_workflows),
            jsonb_build_object('incidents', v_incidents, 'follow_ups', v_follow_ups, 'alerts', v_alerts, 'workflows', v_workflows), v_owner);
    end if;
end
$$;
create function private.hand_over_of_member() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform private.hand_over(old.tenant_id, old.user_id, old.email);
    return null;
end
$$;
create trigger members_hand_over after delete on app.members
    for each row execute function private.hand_over_of_member();
select private.guard_table('app.members');

-- Those who left before this was here.
do $$
declare
    v_left record;
begin
    for v_left in select distinct o.tenant_id, o.owner_id from (
            select tenant_id, owner_id from app.incidents where status <> 'reviewed'
            union select tenant_id, owner_id from app.incident_follow_ups where status = 'open'
            union select tenant_id, owner_id from app.alerts where status <> 'resolved' and owner_id is not null) o
        where not exists (select from app.members m where m.tenant_id = o.tenant_id and m.user_id = o.owner_id) loop
        perform private.hand_over(v_left.tenant_id, v_left.owner_id, null);
    end loop;
end
$$;

-- As it was, but somebody answers for every alert: whoever is named, as long as they are a member; the member whose address the contact is;
-- else, also where the contact has left, the owner who has been there longest. Who was put in charge since stays so when it
-- happens again; what gets worse goes to whoever is named then.
create or replace function private.raise_alert(p_tenant uuid, p_environment text, p_kind text, p_severity text, p_subject_type text, p_subject_id text,
    p_title text, p_detail jsonb default '{}', p_owner uuid default null, p_contact text default null)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
    v_detail jsonb := coalesce(p_detail, '{}');
    v_owner constant uuid := coalesce(
        (select user_id from app.members where tenant_id = p_tenant and user_id = p_owner),
        (select user_id from app.members where tenant_id = p_tenant and lower(email) = lower(p_contact) order by user_id limit 1),
        private.first_owner(p_tenant));
begin
    if not private.may_be_shown(v_detail) then
        v_detail := '{"withheld": true}';
    end if;
    insert into app.alerts as a (tenant_id, environment, kind, severity, subject_type, subject_id, title, detail, owner_id, contact)
    values (p_tenant, p_environment, p_kind, p_severity, p_subject_type, p_subject_id, left(p_title, 300), v_detail, v_owner, p_contact)
    on conflict (tenant_id, kind, subject_type, subject_id) where status <> 'resolved' do update set
        occurrences = a.occurrences + 1, last_raised_at = now(), title = excluded.title, detail = excluded.detail,
        owner_id = case when p_owner is not null and private.severity_rank(excluded.severity) > private.severity_rank(a.severity)
            then coalesce(excluded.owner_id, a.owner_id) else coalesce(a.owner_id, excluded.owner_id) end, contact = coalesce(excluded.contact, a.contact),
        severity = case when private.severity_rank(excluded.severity) > private.severity_rank(a.severity) then excluded.severity else a.severity end,
        status = case when private.severity_rank(excluded.severity) > private.severity_rank(a.severity) then 'open' else a.status end
    returning a.id into v_id;
    return v_id;
end
$$;

revoke all on all functions in schema app, private from public;
