-- Alerts have owners that people change, and a history that everybody who reads alerts reads.

-- By state, newest first: what the page of alerts shows of thousands.
create index alerts_by_status on app.alerts (tenant_id, status, raised_at desc, id desc);

-- Says which member answers for an alert, or nobody in particular; once more changes nothing. args: {id, user_id?}
create function app.assign_alert_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('alerts.acknowledge');
    v_owner uuid := (p_args ->> 'user_id')::uuid;
    v_alert app.alerts;
begin
    select * into v_alert from app.alerts where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such alert.');
    elsif v_alert.status = 'resolved' then
        perform private.fail(409, 'alert_resolved', 'The alert is resolved already.');
    elsif v_owner is not null and not exists (
        select from app.members where tenant_id = v_principal.tenant_id and user_id = v_owner) then
        perform private.fail(422, 'not_a_member', 'Only a member of this organisation can answer for it.');
    elsif v_owner is distinct from v_alert.owner_id then
        update app.alerts set owner_id = v_owner where tenant_id = v_alert.tenant_id and id = v_alert.id returning * into v_alert;
    end if;
    return private.alert_document(v_alert);
end
$$;

-- What became of an alert, oldest first, out of the log, for whoever may read alerts: the log itself is read by fewer. The newest 100.
-- A key of one environment has no history of the other's alerts. args: {id}
create function app.alert_history_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('alerts.read');
begin
    if not exists (select from app.alerts a where a.tenant_id = v_principal.tenant_id and a.id = (p_args ->> 'id')::uuid
        and (a.environment is null or a.environment = coalesce(private.current_environment(), a.environment))) then
        perform private.fail(404, 'not_found', 'There is no such alert.');
    end if;
    return (
        select coalesce(jsonb_agg(jsonb_build_object('seq', e.seq, 'at', e.at, 'type', e.type,
            'by', coalesce(e.event -> 'principal' ->> 'kind', '') || ':' || coalesce(e.event -> 'principal' ->> 'id', ''),
            'by_name', coalesce(nullif(b.name, ''), b.email, s.name),
            'severity', e.event -> 'what' ->> 'severity', 'owner_id', e.event -> 'what' ->> 'owner_id',
            'owner_name', coalesce(nullif(m.name, ''), m.email),
            'said', coalesce(e.event -> 'why' ->> 'resolution', e.event -> 'why' ->> 'acknowledgement')) order by e.seq), '[]')
        from (select seq, at, type, record::jsonb as event from app.audit_events
            where tenant_id = v_principal.tenant_id and subject_id = lower(p_args ->> 'id') and type like 'alert.%'
            order by seq desc limit 100) e
        left join app.members m on m.tenant_id = v_principal.tenant_id and m.user_id::text = e.event -> 'what' ->> 'owner_id'
        left join app.members b on b.tenant_id = v_principal.tenant_id and b.user_id::text = e.event -> 'principal' ->> 'id'
        left join app.service_accounts s on s.tenant_id = v_principal.tenant_id and s.id::text = e.event -> 'principal' ->> 'id');
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.assign_alert_v1, app.alert_history_v1 to authenticated;
