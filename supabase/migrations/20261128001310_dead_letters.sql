-- Dead letters: what was not done and is not tried again by itself. A person requeues one, as it is or through the gate again, or
-- cancels it.

create index actions_dead on app.actions (tenant_id, updated_at desc, id desc) where status = 'dead_letter';

-- Each time a person took an action out of the dead letters. attempts: how many there had been; those after them are counted anew.
create table app.requeues (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    environment text not null check (environment in ('sandbox', 'production')),
    action_id uuid not null,
    attempts integer not null check (attempts >= 0),
    reason text not null check (length(trim(reason)) between 1 and 2000),
    requeued_by uuid not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, id),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id)
);
create index requeues_by_action on app.requeues (tenant_id, action_id, created_at);

-- A person of the tenant, in his own name, of a dead letter; how many attempts there had been is the database's to say.
create function private.guard_requeue() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.requeue');
    v_action app.actions;
begin
    select * into v_action from app.actions where tenant_id = new.tenant_id and id = new.action_id for no key update;
    if v_principal.kind <> 'user' or (v_principal.tenant_id, v_principal.id) is distinct from (new.tenant_id, new.requeued_by) then
        perform private.fail(403, 'people_only', 'Only a person of the tenant requeues a dead letter, in his own name.');
    elsif v_action.status is distinct from 'dead_letter' or v_action.environment <> new.environment then
        perform private.fail(409, 'not_a_dead_letter', format('The action is %s; only a dead letter is requeued.', v_action.status));
    end if;
    new.attempts := (select count(*) from app.attempts where tenant_id = new.tenant_id and action_id = new.action_id);
    new.created_at := clock_timestamp();
    return new;
end
$$;
create trigger requeues_guard before insert on app.requeues
    for each row execute function private.guard_requeue();
select private.append_only('app.requeues');
select private.audit_table('app.requeues', 'requeue', 'made', 'action_id attempts requeued_by', 'reason');

alter table app.requeues enable row level security;
alter table app.requeues force row level security;
create policy "members read their tenant's requeues of their environment" on app.requeues for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.requeues to authenticated;

-- How many attempts an action had had when it was last requeued; with how many there are, how often it was tried since.
create function private.attempts_before(p_tenant uuid, p_action uuid) returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(max(attempts), 0) from app.requeues where tenant_id = p_tenant and action_id = p_action
$$;

-- What has changed since an action was decided, of what an authorization does not survive: [{what, was, is, message}].
create function private.moved_since(p_action app.actions) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_live integer := (select live_version from app.workflows where tenant_id = p_action.tenant_id and id = p_action.workflow_id);
    v_contract integer := (private.tool_of(p_action.tenant_id, p_action.tool)).version;
    v_decided integer := (select (document ->> 'constitution_version')::integer from app.decisions
        where tenant_id = p_action.tenant_id and action_id = p_action.id);
    v_constitution integer := (select max(version) from app.constitution_versions where tenant_id = p_action.tenant_id);
    v_needed integer := greatest(p_action.required_approvals, private.is_hard_gate(p_action.effect)::integer);
    v_given integer := private.approvals_for(p_action);
    v_connection text := (select status from app.connections where tenant_id = p_action.tenant_id and id = p_action.connection_id);
    v_moved jsonb := '[]';
begin
    if v_live is distinct from p_action.workflow_version then
        v_moved := v_moved || jsonb_build_object('what', 'workflow_version', 'was', p_action.workflow_version, 'is', v_live,
            'message', 'The workflow has a new version.');
    end if;
    if v_contract is distinct from p_action.contract_version then
        v_moved := v_moved || jsonb_build_object('what', 'contract_version', 'was', p_action.contract_version, 'is', v_contract,
            'message', 'The tool has a new contract.');
    end if;
    if v_constitution is distinct from coalesce(v_decided, v_constitution) then
        v_moved := v_moved || jsonb_build_object('what', 'constitution_version', 'was', v_decided, 'is', v_constitution,
            'message', 'The constitution has a new version.');
    end if;
    if v_given < v_needed then
        v_moved := v_moved || jsonb_build_object('what', 'approvals', 'was', v_needed, 'is', v_given,
            'message', 'Its approvals have expired, or whoever gave them has left.');
    end if;
    if p_action.expires_at <= now() then
        v_moved := v_moved || jsonb_build_object('what', 'expiry', 'was', p_action.expires_at, 'is', now(),
            'message', 'The time to execute it is over.');
    end if;
    if v_connection in ('revoked', 'expired') then
        v_moved := v_moved || jsonb_build_object('what', 'connection', 'was', 'active', 'is', v_connection,
            'message', format('Its connection is %s.', v_connection));
    end if;
    return v_moved;
end
$$;

-- A person lets a dead letter be tried again, with fresh attempts, and only while nothing has moved that its authorization rests on: else it
-- is proposed again (repropose_dead_letter_v1). args: {id, reason}
create or replace function app.requeue_action_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.requeue');
    v_action app.actions;
    v_moved jsonb;
begin
    perform private.lock_tenant(v_principal.tenant_id, false);
    select * into v_action from app.actions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid
        and status = 'dead_letter' for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such dead letter.');
    end if;
    select coalesce(jsonb_agg(m -> 'message'), '[]') into v_moved
        from jsonb_array_elements(private.moved_since(v_action)) m where m ->> 'what' <> 'approvals';
    if v_moved <> '[]' then
        perform private.fail(409, 'moved', format('It cannot go on as it was decided. %s',
            (select string_agg(m, ' ') from jsonb_array_elements_text(v_moved) m)));
    end if;
    insert into app.requeues (tenant_id, environment, action_id, attempts, reason, requeued_by)
    values (v_action.tenant_id, v_action.environment, v_action.id, 0, p_args ->> 'reason', v_principal.id);
    update app.actions set status = 'authorized', status_reason = p_args ->> 'reason', next_attempt_at = now(), updated_at = now()
        where tenant_id = v_action.tenant_id and id = v_action.id;
    return jsonb_build_object('id', v_action.id, 'status', 'authorized', 'superseded_by', null, 'moved', '[]'::jsonb);
end
$$;

-- One dead letter: what was to be done, every attempt at it, and what has moved since. args: {id}
create function app.describe_dead_letter_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.read');
    v_action app.actions;
begin
    select * into v_action from app.actions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid
        and status = 'dead_letter' and environment = coalesce(v_principal.environment, environment);
    if not found then
        perform private.fail(404, 'not_found', 'There is no such dead letter.');
    end if;
    return private.dead_letter_line(v_action) || jsonb_build_object(
        'digest', v_action.digest, 'rationale', v_action.rationale, 'citations', v_action.citations, 'evidence', v_action.evidence,
        'subject', v_action.subject, 'confidence', v_action.confidence, 'edited_by', v_action.edited_by,
        'proposed_by', jsonb_build_object('kind', v_action.proposed_by_kind, 'id', v_action.proposed_by),
        'moved', private.moved_since(v_action), 'maybe_happened', private.may_have_happened(v_action),
        'attempts', (select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'number', t.number, 'kind', t.kind, 'status', t.status,
                'idempotency_key', t.idempotency_key, 'request', t.request, 'response', t.response, 'response_digest', t.response_digest,
                'error', t.error, 'started_at', t.started_at, 'sent_at', t.sent_at, 'finished_at', t.finished_at) order by t.number), '[]')
            from app.attempts t where t.tenant_id = v_action.tenant_id and t.action_id = v_action.id),
        'requeues', (select coalesce(jsonb_agg(jsonb_build_object('attempts', r.attempts, 'reason', r.reason, 'requeued_by', r.requeued_by,
                'created_at', r.created_at) order by r.created_at), '[]')
            from app.requeues r where r.tenant_id = v_action.tenant_id and r.action_id = v_action.id));
end
$$;

-- A dead letter in a few words, with the contract's title and the roles of its arguments, by which its amounts are found.
create function private.dead_letter_line(p_action app.actions) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_action.id, 'environment', p_action.environment, 'run_id', p_action.run_id, 'tool', p_action.tool,
        'workflow', (select slug from app.workflows where tenant_id = p_action.tenant_id and id = p_action.workflow_id),
        'effect', p_action.effect, 'error', p_action.status_reason, 'dead_since', p_action.updated_at, 'created_at', p_action.created_at,
        'tries', (select count(*) from app.attempts where tenant_id = p_action.tenant_id and action_id = p_action.id),
        'args', p_action.payload::jsonb -> 'args', 'contract', private.contract_of(p_action))
$$;

-- The tenant's dead letters of the caller's environment, the newest first. args: {workflow?, tool?, older_than?, after_at?, after_id?,
-- limit}; older_than in seconds.
create function app.list_dead_letters_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.read');
begin
    return (select coalesce(jsonb_agg(private.dead_letter_line(d) order by d.updated_at desc, d.id desc), '[]') from (
        select a.* from app.actions a join app.workflows w on w.tenant_id = a.tenant_id and w.id = a.workflow_id
        where a.tenant_id = v_principal.tenant_id and a.status = 'dead_letter'
            and a.environment = coalesce(v_principal.environment, a.environment)
            and w.slug = coalesce(p_args ->> 'workflow', w.slug) and a.tool = coalesce(p_args ->> 'tool', a.tool)
            and a.updated_at <= now() - make_interval(secs => coalesce((p_args ->> 'older_than')::integer, 0))
            and (p_args ->> 'after_at' is null or (a.updated_at, a.id) < ((p_args ->> 'after_at')::timestamptz, (p_args ->> 'after_id')::uuid))
        order by a.updated_at desc, a.id desc limit (p_args ->> 'limit')::integer) d);
end
$$;

-- Keeps the answer to a request that requeued several, so that repeating it is answered the same. args: {results: [{id, ...}]}
create function app.note_requeues_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('actions.requeue');
begin
    return jsonb_build_object('results', p_args -> 'results');
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.describe_dead_letter_v1, app.list_dead_letters_v1, app.note_requeues_v1 to authenticated;
