-- Settling: work is handed to one executor at a time, what was not sent is tried again, what came too late is kept, and whoever answers
-- for a workflow is told of what needs a person.

-- What an executor was handed, and until when nobody else is; or until when it has to wait, because its connection takes no call.
-- Bookkeeping: it keeps executors apart, and claim_attempt_v1 decides.
create table private.handouts (
    tenant_id uuid not null references app.tenants,
    id uuid not null,  -- of an action that is due, or of an attempt whose lease ran out
    until timestamptz not null,
    primary key (tenant_id, id)
);
revoke all on private.handouts from public;

create function private.hand_out(p_tenant uuid, p_id uuid, p_until timestamptz) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into private.handouts (tenant_id, id, until) values (p_tenant, p_id, p_until)
        on conflict (tenant_id, id) do update set until = excluded.until
$$;

create function private.is_handed_out(p_tenant uuid, p_id uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from private.handouts where tenant_id = p_tenant and id = p_id and until > clock_timestamp())
$$;

-- Each piece of work to one asker: two who ask at once get different work, and what was handed out is handed out again only when 45 seconds
-- have passed and nothing came of it. Askers take turns, for as long as one query takes.
create or replace function app.claim_due_actions_v1(p_limit integer) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_work jsonb;
begin
    perform pg_advisory_xact_lock(hashtext('countersign.claim_due_actions'));
    delete from private.handouts where until < now() - interval '1 hour';
    select coalesce(jsonb_agg(to_jsonb(w)), '[]') into v_work from (
        (select a.tenant_id, a.id as action_id, null::uuid as attempt_id from app.actions a
            where a.status = 'authorized' and a.next_attempt_at <= now() and not private.is_handed_out(a.tenant_id, a.id)
                and (a.expires_at <= now() or not private.is_held_back(a))
            order by row_number() over (partition by a.tenant_id order by a.next_attempt_at), a.next_attempt_at limit p_limit)
        union all
        (select t.tenant_id, t.action_id, t.id from app.attempts t
            where t.status = 'executing' and t.lease_expires_at <= now() and not private.is_handed_out(t.tenant_id, t.id)
            order by row_number() over (partition by t.tenant_id order by t.lease_expires_at), t.lease_expires_at limit p_limit)
        union all
        (select a.tenant_id, a.id, null::uuid from app.actions a
            join app.workflows f on f.tenant_id = a.tenant_id and f.id = a.workflow_id
            where a.status = 'authorized' and a.next_attempt_at is null and a.connection_id is null
                and not private.is_handed_out(a.tenant_id, a.id)
                and (a.expires_at <= now() or a.workflow_version is distinct from f.live_version
                    or a.contract_version is distinct from (private.tool_of(a.tenant_id, a.tool)).version)
            order by row_number() over (partition by a.tenant_id order by a.expires_at), a.expires_at limit p_limit)) w;
    perform private.hand_out((item ->> 'tenant_id')::uuid, coalesce(item ->> 'attempt_id', item ->> 'action_id')::uuid,
        clock_timestamp() + interval '45 seconds') from jsonb_array_elements(v_work) as item;
    return v_work;
end
$$;

-- Settles an attempt whose function died. What was not sent did not reach the provider, whatever the caller supposes: it is tried again
-- unless its tries are used up, or an earlier attempt may have happened.
-- args: {attempt_id, outcome: retry | unknown | dead_letter, next_attempt_at, error}
create function private.settle_dead_attempt(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_attempt app.attempts;
    v_action app.actions;
    v_args jsonb := p_args;
begin
    select * into v_attempt from app.attempts where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'attempt_id')::uuid for update skip locked;
    if not found or v_attempt.status <> 'executing' or v_attempt.lease_expires_at > now() then
        return jsonb_build_object('recorded', false);
    end if;
    if p_args ->> 'outcome' in ('succeeded', 'failed') then
        perform private.fail(422, 'invalid_outcome', 'What a dead function did is not known to have succeeded or failed.');
    end if;
    if v_attempt.kind = 'executor' and v_attempt.sent_at is null then
        select * into v_action from app.actions where tenant_id = v_attempt.tenant_id and id = v_attempt.action_id;
        v_args := v_args || jsonb_build_object('response', jsonb_build_object('status', null, 'reached', 'no', 'body', null))
            || case when p_args ->> 'outcome' = 'unknown' and not private.may_have_happened(v_action) then '{"outcome": "retry"}'::jsonb else '{}' end;
    end if;
    delete from private.handouts where tenant_id = v_attempt.tenant_id and id = v_attempt.id;
    return private.settle_attempt(v_attempt, v_args);
end
$$;

-- What follows from how an attempt was settled, in its transaction; p_action: as it is now. p_args: as finish_attempt_v1, with `health` and
-- `retry_after`, which say how the connection is. The client's own calls say nothing.
create function private.attempt_settled(p_attempt app.attempts, p_action app.actions, p_args jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_attempt.kind = 'executor' then
        perform private.note_call(p_action.tenant_id, p_action.connection_id, p_action.run_id, p_args ->> 'health', (p_args ->> 'retry_after')::numeric);
    end if;
end
$$;

-- An answer that came when its lease was over: it changes nothing by itself, and is kept, because it is evidence. outcome: what would
-- have become of the attempt.
create table app.late_answers (
    tenant_id uuid not null references app.tenants,
    id uuid not null,  -- the attempt's
    environment text not null check (environment in ('sandbox', 'production')),
    action_id uuid not null,
    run_id uuid not null,
    outcome text not null check (outcome in ('succeeded', 'retry', 'failed', 'unknown', 'dead_letter')),
    response jsonb not null check (jsonb_typeof(response) = 'object' and octet_length(response::text) <= 20000),
    response_digest text check (response_digest ~ '^sha256:[0-9a-f]{64}$'),
    error text check (length(error) <= 4000),
    received_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, id),
    foreign key (tenant_id, id) references app.attempts (tenant_id, id),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id)
);
create index late_answers_by_action on app.late_answers (tenant_id, action_id);

-- Of an attempt that was sent and is over, by the executor of the tenant; whose it is, is the database's to say.
create function private.guard_late_answer() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_attempt app.attempts;
begin
    select * into v_attempt from app.attempts where tenant_id = new.tenant_id and id = new.id;
    if v_principal.tenant_id <> new.tenant_id or v_attempt.kind is distinct from 'executor' then
        perform private.fail(403, 'not_the_executor', 'The executor notes answers to its own attempts.');
    elsif v_attempt.sent_at is null or v_attempt.status = 'executing' and v_attempt.lease_expires_at > clock_timestamp() then
        perform private.fail(409, 'not_late', 'The attempt is not over, or was never sent.');
    end if;
    new.environment := v_attempt.environment;
    new.action_id := v_attempt.action_id;
    new.run_id := v_attempt.run_id;
    new.received_at := clock_timestamp();
    return new;
end
$$;
create trigger late_answers_guard before insert on app.late_answers
    for each row execute function private.guard_late_answer();
select private.append_only('app.late_answers');
select private.audit_table('app.late_answers', 'late_answer', 'received', 'action_id outcome response_digest', 'error');

alter table app.late_answers enable row level security;
alter table app.late_answers force row level security;
create policy "members read their tenant's late answers of their environment" on app.late_answers for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.late_answers to authenticated;

-- Keeps how a late answer ended, and its digest, once per attempt; the answer itself would be kept for ever. One that was recorded in
-- time, of which only the acknowledgement was lost, is not late. args: {attempt_id, fence, outcome, response, response_digest, error}
create function app.note_late_answer_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.execute');
    v_attempt app.attempts;
begin
    select * into v_attempt from app.attempts where tenant_id = v_principal.tenant_id
        and id = (p_args ->> 'attempt_id')::uuid and fence = (p_args ->> 'fence')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such attempt of this holder.');
    elsif v_attempt.status <> 'executing' and v_attempt.response is not distinct from p_args -> 'response'
        and v_attempt.response_digest is not distinct from p_args ->> 'response_digest' and v_attempt.finished_at < v_attempt.lease_expires_at then
        return jsonb_build_object('recorded', false);
    end if;
    insert into app.late_answers (tenant_id, id, environment, action_id, run_id, outcome, response, response_digest, error)
    values (v_attempt.tenant_id, v_attempt.id, v_attempt.environment, v_attempt.action_id, v_attempt.run_id, p_args ->> 'outcome',
        (p_args -> 'response') - 'body', p_args ->> 'response_digest', left(p_args ->> 'error', 4000))
    on conflict (tenant_id, id) do nothing;
    return jsonb_build_object('recorded', found);
end
$$;

select private.guard_table('app.late_answers');
revoke all on all functions in schema app, private from public;
grant execute on function app.note_late_answer_v1 to authenticated;
