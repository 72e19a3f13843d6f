-- What people approved, or the product itself proposed, and was then not done is told to whoever answers for the workflow: an action
-- that the provider refused, or whose authorization ended before it could be carried out, was seen by nobody but who looked for it.

-- As it was; and of what failed or expired after it was authorized, unless a person brought that about, or it is a client's own that
-- nobody approved, who is answered so. Nothing was done then, so that it is a warning, and only a person closes it.
create or replace function private.tell_of_action() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_kind text := 'action.' || new.status;
begin
    if old.status in ('dead_letter', 'unknown') then
        perform private.resolve_alert(new.tenant_id, 'action.' || old.status, 'action', new.id::text, format('It is %s now.', new.status));
        if old.status = 'unknown' then
            perform private.resolve_alert(new.tenant_id, 'permit.unreported', 'action', new.id::text, format('It is %s now.', new.status));
        end if;
        update private.lookups set next_at = null where tenant_id = new.tenant_id and action_id = new.id and next_at is not null;
    end if;
    if new.status in ('dead_letter', 'unknown') and new.connection_id is not null then
        perform private.raise_alert(new.tenant_id, new.environment, v_kind, case new.effect when 'money_movement' then 'critical' else 'warning' end,
            'action', new.id::text,
            case new.status when 'unknown' then format('Nobody knows whether %s happened; the provider is asked again.', new.tool)
                else format('%s was not done and is not tried again; requeue or cancel it.', new.tool) end,
            jsonb_build_object('tool', new.tool, 'run_id', new.run_id, 'attempts',
                (select count(*) from app.attempts where tenant_id = new.tenant_id and action_id = new.id)),
            null, private.owner_of_run(new.tenant_id, new.run_id));
    elsif new.status in ('failed', 'expired') and old.status in ('authorized', 'executing', 'unknown')
        and coalesce(private.acting(), '') not like 'user:%'
        and (exists (select from app.approvals where tenant_id = new.tenant_id and action_id = new.id and verdict = 'approve')
            or exists (select from app.runs where tenant_id = new.tenant_id and id = new.run_id and driven_by = 'loop')) then
        perform private.raise_alert(new.tenant_id, new.environment, v_kind, 'warning', 'action', new.id::text,
            case new.status when 'failed' then format('%s was refused, and nothing was done. See why; if it is still wanted, it is proposed anew.', new.tool)
                else format('%s was authorized and not done: that ended first. If it is still wanted, it is proposed anew.', new.tool) end,
            jsonb_build_object('tool', new.tool, 'run_id', new.run_id), null, private.owner_of_run(new.tenant_id, new.run_id));
    end if;
    if new.status = 'unknown' and new.connection_id is not null then
        insert into private.lookups (tenant_id, action_id, since, next_at, ended)
            values (new.tenant_id, new.id, now(), now() + interval '1 minute', old.status = 'authorized')
            on conflict (tenant_id, action_id) do update set since = excluded.since, next_at = excluded.next_at, looks = 0, ended = excluded.ended;
    end if;
    return null;
end
$$;

revoke all on all functions in schema app, private from public;
