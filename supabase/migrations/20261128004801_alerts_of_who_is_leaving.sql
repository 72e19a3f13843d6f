-- As it was, but that whoever is made to answer for an alert stays until it stands, so that a removal at the same moment hands it over. Who is
-- being removed already is not named: an alert waits for nobody.
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
