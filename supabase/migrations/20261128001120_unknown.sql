-- What nobody knows the end of: the provider is asked again and again, with growing pauses, and people are told.

-- When an action whose outcome is unknown is looked up next. absent_at: it was seen, conclusively, that nothing that was sent until then
-- had an effect or ever will. ended: the action was cancelled, or its authorization had ended, when it became unknown; then it is not
-- tried again, whatever is found.
create table private.lookups (
    tenant_id uuid not null,
    action_id uuid not null,
    since timestamptz not null,
    looks integer not null default 0,
    next_at timestamptz,
    absent_at timestamptz,
    ended boolean not null default false,
    primary key (tenant_id, action_id),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id)
);
revoke all on private.lookups from public;
create index lookups_due on private.lookups (next_at) where next_at is not null;

-- Whether an attempt at an action may have reached the provider, but for what was seen not to have happened.
create or replace function private.may_have_happened(p_action app.actions) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.attempts where tenant_id = p_action.tenant_id and action_id = p_action.id
        and response ->> 'reached' = 'maybe'
        and finished_at > coalesce((select absent_at from private.lookups
            where tenant_id = p_action.tenant_id and action_id = p_action.id), '-infinity'))
$$;

-- What has come to an end that needs a person: whoever answers for the workflow is told, until it goes on. What the client executes itself
-- is told of where its permit ends; that nobody reported on a permit is no news any more once its end is known. What failed or expired
-- after it was authorized is told of, too, unless a person brought that about, or it is a client's own that nobody approved, who is
-- answered so: nothing was done then, so that it is a warning, and only a person closes it.
create function private.tell_of_action() returns trigger
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
create trigger actions_tell after update of status on app.actions for each row
    when (old.status is distinct from new.status) execute function private.tell_of_action();

-- For every caller: of what nobody knows, only what was seen not to have happened is authorized again, and nothing that was ended.
create function private.guard_unknown() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if private.may_have_happened(new)
        or exists (select from private.lookups where tenant_id = new.tenant_id and action_id = new.id and ended) then
        perform private.fail(409, 'maybe_done', 'It may have had its effect, or was ended; it is reconciled, and never tried again.');
    end if;
    return null;
end
$$;

create trigger actions_guard_unknown after update on app.actions for each row
    when (old.status = 'unknown' and new.status = 'authorized') execute function private.guard_unknown();

-- Actions to look up, of any tenant, as ids; who asks at the same time gets others. The next look is set at once, so that a function
-- that dies only delays it: after 5, 15 and 60 minutes, then every hour, for a day or until it would be conclusive.
create function app.claim_unknown_actions_v1(p_limit integer) returns jsonb
language sql security definer set search_path = pg_catalog, pg_temp as $$
    with due as (
        select l.tenant_id, l.action_id from private.lookups l where l.next_at <= now()
        order by l.next_at limit p_limit for update skip locked),
    looked as (
        update private.lookups l set looks = l.looks + 1, next_at = case when n.at <= l.since + n.lasts then n.at end
        from due d
        join app.actions a on a.tenant_id = d.tenant_id and a.id = d.action_id
        cross join lateral (select greatest(interval '1 day', make_interval(secs => coalesce(
            ((private.tool_of(a.tenant_id, a.tool)).contract -> 'read_back' ->> 'conclusive_after')::double precision, 0)) + interval '2 hours') as lasts) c
        cross join lateral (select now() + make_interval(mins => coalesce((array[5, 15])[1 + (
            select k.looks from private.lookups k where k.tenant_id = d.tenant_id and k.action_id = d.action_id)], 60)) as at, c.lasts) n
        where l.tenant_id = d.tenant_id and l.action_id = d.action_id
        returning l.tenant_id, l.action_id)
    select coalesce(jsonb_agg(to_jsonb(w)), '[]') from looked w
$$;

-- Closes an unknown outcome that the provider shows no trace of, after the time within which, by the contract, it would have: it did not
-- happen and will not. Tried again if its approvals and its time still hold, and it had not been cancelled or ended before; else failed.
-- args: {id, observation_id, reason}; the observation is the read-back, read after that time.
create function app.settle_absent_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_action app.actions;
    v_contract private.tools_in_force;
    v_sent timestamptz;
    v_seen timestamptz;
    v_status text;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_action from app.actions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such action.');
    elsif v_action.status <> 'unknown' or v_action.connection_id is null then
        perform private.fail(409, 'not_unknown', format('The action is %s, or none of the executor''s.', v_action.status));
    end if;
    v_contract := private.tool_of(v_action.tenant_id, v_action.tool);
    if v_contract.version is distinct from v_action.contract_version
        or v_contract.contract -> 'read_back' ->> 'conclusive_after' is null then
        perform private.fail(409, 'never_conclusive', 'The contract does not say when an absence is conclusive; a person decides.');
    end if;
    select max(coalesce(finished_at, lease_expires_at)) into v_sent from app.attempts
        where tenant_id = v_action.tenant_id and action_id = v_action.id and sent_at is not null;
    select created_at into v_seen from app.observations where tenant_id = v_action.tenant_id and id = (p_args ->> 'observation_id')::uuid
        and action_id = v_action.id and purpose = 'read_back' and status = 'succeeded'
        and tool = v_contract.contract -> 'read_back' ->> 'tool';
    if v_seen is null or v_sent is null
        or v_seen < v_sent + make_interval(secs => (v_contract.contract -> 'read_back' ->> 'conclusive_after')::double precision) then
        perform private.fail(409, 'too_early', 'It was not read back after the time that the contract names.');
    elsif exists (select from app.late_answers where tenant_id = v_action.tenant_id and action_id = v_action.id and outcome <> 'failed') then
        perform private.fail(409, 'answered_late', 'The provider answered late; a person decides.');
    end if;
    update private.lookups set absent_at = v_seen where tenant_id = v_action.tenant_id and action_id = v_action.id;
    if not found then
        insert into private.lookups (tenant_id, action_id, since, absent_at) values (v_action.tenant_id, v_action.id, now(), v_seen);
    end if;
    v_status := case when v_action.expires_at > now()
        and not coalesce((select ended from private.lookups where tenant_id = v_action.tenant_id and action_id = v_action.id), false)
        and private.approvals_for(v_action)
        >= greatest(v_action.required_approvals, private.is_hard_gate(v_action.effect)::integer) then 'authorized' else 'failed' end;
    update app.actions set status = v_status, status_reason = p_args ->> 'reason',
        next_attempt_at = case when v_status = 'authorized' then now() end, updated_at = now()
        where tenant_id = v_action.tenant_id and id = v_action.id;
    return jsonb_build_object('id', v_action.id, 'status', v_status);
end
$$;

select private.guard_table('app.actions');
revoke all on all functions in schema app, private from public;
grant execute on function app.claim_unknown_actions_v1 to countersign_worker;
grant execute on function app.settle_absent_v1 to authenticated;
