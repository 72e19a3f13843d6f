-- What an action would change may be looked at while it waits for a person: a read through the gateway like any other one, made
-- for this action (`look`, see private.run_to_read_in), so that whoever decides sees what is there now and not only what the agent saw.

-- That a person looked, with the reads that it took: kept under the request's key, so that the same request looks once.
-- args: {exception_id, observations: [id]}
create function app.note_look_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
    v_action uuid;
begin
    select action_id into v_action from app.exceptions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'exception_id')::uuid
        and environment = coalesce(v_principal.environment, environment);
    if not found or (select count(*) from app.observations where tenant_id = v_principal.tenant_id and action_id = v_action
        and purpose = 'look' and id::text in (select jsonb_array_elements_text(p_args -> 'observations')))
        <> jsonb_array_length(p_args -> 'observations') then
        perform private.fail(404, 'not_found', 'There is no such exception, or these are not reads of it.');
    end if;
    return jsonb_build_object('exception_id', p_args ->> 'exception_id', 'observations', p_args -> 'observations');
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.note_look_v1 to authenticated;
