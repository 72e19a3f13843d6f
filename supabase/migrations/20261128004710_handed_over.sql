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

-- Raises an alert, or counts it on the one that is not resolved. Somebody answers for every alert: whoever is named, as long as they are a
-- member; the member whose address the contact is; else, also where the contact has left, the owner who has been there longest. Who was put
-- in charge since stays so when it happens again; what gets worse goes to whoever is named then. Whoever is made to answer for it stays until
-- it stands, so that a removal at the same moment hands it over; who is being removed already is not named: an alert waits for nobody.
create or replace function private.raise_alert(p_tenant uuid, p_environment text, p_kind text, p_severity text, p_subject_type text, p_subject_id text,
    p_title text, p_detail jsonb default '{}', p_owner uuid default null, p_contact text default null)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
    v_detail jsonb := coalesce(p_detail, '{}');
    v_owner uuid := coalesce(
        (select user_id from app.members where tenant_id = p_tenant and user_id = p_owner for key share skip locked),
        (select user_id from app.members where tenant_id = p_tenant and lower(email) = lower(p_contact) order by user_id limit 1
            for key share skip locked),
        (select user_id from app.members where tenant_id = p_tenant and role = 'owner' order by created_at, user_id limit 1
            for key share skip locked),
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
