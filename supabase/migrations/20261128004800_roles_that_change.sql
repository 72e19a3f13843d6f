-- Whoever loses, by a change of their role, what it takes to work on incidents or alerts keeps none: they are handed over as those of
-- whoever leaves are.

-- Whether a member's role holds a permission; false of who is no member.
create function private.holds(p_tenant uuid, p_user uuid, p_permission text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.members m join private.permissions p on p.permission = p_permission and m.role = any (p.roles)
        where m.tenant_id = p_tenant and m.user_id = p_user)
$$;

-- As it was, and what somebody whose role may not work on incidents any more answered for is handed over by the change of the role.
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

-- Who answers for something instead of somebody who may not any more: whoever answers for what it is about, if their role holds the
-- permission, else the owner who has been there longest.
create function private.answerer_with(p_tenant uuid, p_permission text, p_type text, p_id text) returns uuid
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_answerer constant uuid := private.answerer_for(p_tenant, p_type, p_id);
begin
    return case when private.holds(p_tenant, v_answerer, p_permission) then v_answerer else private.first_owner(p_tenant) end;
end
$$;

-- Hands over what a member's new role may not work on, in an order that is the same for everybody, and tells of it. What is to be done after
-- an incident stays theirs: every member may do it. Whoever is named later, of whatever role, was named by somebody who knew it.
create function private.hand_over_of_role() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_lost constant text[] := array(select permission from private.permissions
        where permission in ('incidents.manage', 'alerts.acknowledge') and old.role = any (roles) and not new.role = any (roles));
    v_incident app.incidents;
    v_incidents bigint := 0;
    v_alerts bigint := 0;
begin
    if 'incidents.manage' = any (v_lost) then
        for v_incident in select * from app.incidents where tenant_id = new.tenant_id and owner_id = new.user_id and status <> 'reviewed'
            order by id for update loop
            update app.incidents set owner_id = private.answerer_with(tenant_id, 'incidents.manage', subject_type, subject_id),
                said = 'Whoever answered for it may not work on incidents any more.', link_type = null, link_id = null
                where tenant_id = new.tenant_id and id = v_incident.id;
            v_incidents := v_incidents + 1;
        end loop;
    end if;
    if 'alerts.acknowledge' = any (v_lost) then
        update app.alerts set owner_id = private.answerer_with(tenant_id, 'alerts.acknowledge', subject_type, subject_id)
            where tenant_id = new.tenant_id and owner_id = new.user_id and status <> 'resolved';
        get diagnostics v_alerts = row_count;
    end if;
    if v_incidents + v_alerts > 0 then
        perform private.raise_alert(new.tenant_id, null, 'incident.owner_left', 'warning', 'member', new.user_id::text,
            format('A member whose role may not work on them any more answered for incidents (%s) and alerts (%s), which were handed over.',
                v_incidents, v_alerts),
            jsonb_build_object('incidents', v_incidents, 'alerts', v_alerts), private.first_owner(new.tenant_id));
    end if;
    return null;
end
$$;
create trigger members_hand_over_of_role after update of role on app.members
    for each row when (old.role is distinct from new.role) execute function private.hand_over_of_role();
select private.guard_table('app.members');

revoke all on all functions in schema app, private from public;
