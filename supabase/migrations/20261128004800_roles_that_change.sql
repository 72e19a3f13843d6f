-- Whoever loses, by a change of their role, what it takes to work on incidents or alerts keeps none: they are handed over as those of
-- whoever leaves are.

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
