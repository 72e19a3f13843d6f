-- An outage that leaves hundreds of payments unknown is not hundreds of incidents, each to be contained, resolved and reviewed.

-- The unresolved incident that something critical joins although it is about something else: the one that this alert joined before, or the
-- newest, once ten have opened by themselves in its environment within an hour. Null while there are fewer.
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

-- As before, but that what comes in masses joins one of those that are open. To stop the whole organisation is always one of its own.
create or replace function private.incident_about(p_tenant uuid, p_environment text, p_subject_type text, p_subject_id text, p_title text, p_owner uuid,
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

revoke all on all functions in schema app, private from public;
