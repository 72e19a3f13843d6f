-- What nobody decided in time ends, and nothing is done; whom its workflow names for that (`escalation_contact`) is told.

-- An exception that ends undecided: one alert each, that a person closes.
create function private.tell_of_undecided() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_action app.actions;
    v_contact text;
begin
    select * into v_action from app.actions where tenant_id = new.tenant_id and id = new.action_id;
    select left(v.spec ->> 'escalation_contact', 320) into v_contact from app.runs r join app.workflow_versions v
        on v.tenant_id = r.tenant_id and v.workflow_id = r.workflow_id and v.version = r.workflow_version
        where r.tenant_id = new.tenant_id and r.id = new.run_id;
    perform private.raise_alert(new.tenant_id, new.environment, 'exception.expired', 'warning', 'exception', new.id::text,
        format('Nobody decided on %s in time, so it was not done. If it is still wanted, it is proposed anew.', v_action.tool),
        jsonb_build_object('tool', v_action.tool, 'action_id', new.action_id, 'run_id', new.run_id),
        (select user_id from app.members where tenant_id = new.tenant_id and lower(email) = lower(v_contact)), v_contact);
    return null;
end
$$;
create trigger exceptions_tell_of_undecided after update on app.exceptions for each row
    when (old.status = 'open' and new.status = 'expired') execute function private.tell_of_undecided();

select private.guard_table('app.exceptions');
revoke all on all functions in schema app, private from public;
