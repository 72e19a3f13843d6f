-- A search for somebody to erase does not end at a run that does not open: it says which could not be looked through, and whoever
-- asked is told until a person has dealt with it. Such a run is erased as any other one: a request may name it (type `run`).

-- Runs of which something could not be opened, and in the rest of which nobody was found; more than is named is counted.
alter table app.erasures
    add column unread uuid[] not null default '{}' check (cardinality(unread) <= 1000),
    add column unread_count integer not null default 0 check (unread_count >= cardinality(unread));

-- As it was, and with what could not be read. args: {id, subject, reason, searched_to, run_ids, unread?, unread_count?}
create or replace function app.request_erasure_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('privacy.erase');
    v_id uuid := (p_args ->> 'id')::uuid;
    v_row app.erasures;
begin
    insert into app.erasures (tenant_id, id, subject, reason, searched_to, requested_by, unread, unread_count)
        values (v_principal.tenant_id, v_id, p_args ->> 'subject', p_args ->> 'reason', (p_args ->> 'searched_to')::timestamptz, v_principal.id,
            array(select r.id from app.runs r where r.tenant_id = v_principal.tenant_id
                and r.id = any (array(select jsonb_array_elements_text(coalesce(p_args -> 'unread', '[]'))::uuid)) order by r.id),
            coalesce((p_args ->> 'unread_count')::integer, 0))
        returning * into v_row;
    insert into app.erasure_runs (tenant_id, erasure_id, run_id, environment)
        select r.tenant_id, v_id, r.id, r.environment from app.runs r where r.tenant_id = v_principal.tenant_id and r.erased_at is null
            and r.id = any (array(select jsonb_array_elements_text(p_args -> 'run_ids')::uuid));
    if v_row.unread_count > 0 then
        perform private.raise_alert(v_principal.tenant_id, null, 'erasure.unread', 'critical', 'erasure', v_id::text,
            format('Runs that could not be looked through for somebody who is to be erased: %s. Restore their keys and ask again, or have '
                'them erased whole.', v_row.unread_count),
            jsonb_build_object('runs', v_row.unread_count), v_principal.id);
    end if;
    return jsonb_build_object('id', v_id);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.request_erasure_v1 to authenticated;
