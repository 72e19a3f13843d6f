-- Erasure of whole runs: when their time is over, or because a person of the tenant asked for it on behalf of somebody whom they are
-- about. What a run holds beside what is sealed (its instruction, payloads, rationales, answers of providers, words of findings) is
-- blanked in place: digests, verdicts and times stay, so that everything that was proved can still be proved.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('privacy.erase', '{owner,admin}', false, false, true, 'have everything erased that is about a person'),
    ('privacy.read', '{owner,admin,auditor}', false, false, false, 'see requests for erasure, and what became of them');

-- A request: whom it is about is kept as a person may read it, and not so that anybody could be found by it.
create table app.erasures (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    subject text not null check (length(subject) between 1 and 200),
    reason text not null check (length(reason) between 1 and 2000),
    searched_to timestamptz,               -- runs from before this were not looked through; null: all were
    requested_by uuid not null,
    created_at timestamptz not null default now(),
    -- Runs of which something could not be opened, and in the rest of which nobody was found; more than is named is counted.
    unread uuid[] not null default '{}' check (cardinality(unread) <= 1000),
    unread_count integer not null default 0 check (unread_count >= cardinality(unread)),
    primary key (tenant_id, id)
);
create index erasures_by_time on app.erasures (tenant_id, created_at desc, id desc);

-- The runs that a request found. Each is erased as soon as nothing in it is open.
create table app.erasure_runs (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    erasure_id uuid not null,
    run_id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, erasure_id, run_id),
    foreign key (tenant_id, erasure_id) references app.erasures (tenant_id, id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id)
);
create index erasure_runs_by_run on app.erasure_runs (tenant_id, run_id);

-- Only a person of the tenant who may, at a second factor, in his own name: whoever writes the row.
create function private.guard_erasure() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('privacy.erase');
begin
    if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id then
        perform private.fail(403, 'people_only', 'Only a person of the tenant asks for erasure.');
    end if;
    if tg_table_name = 'erasures' then
        new.requested_by := v_principal.id;
        new.created_at := clock_timestamp();
    else
        select environment into new.environment from app.runs where tenant_id = new.tenant_id and id = new.run_id;
    end if;
    return new;
end
$$;
create trigger erasures_guard before insert on app.erasures for each row execute function private.guard_erasure();
create trigger erasure_runs_guard before insert on app.erasure_runs for each row execute function private.guard_erasure();
select private.audit_table('app.erasures', 'erasure', 'requested', 'subject requested_by searched_to', 'reason');
select private.audit_table('app.erasure_runs', 'erasure_run', 'found', 'erasure_id');
select private.append_only('app.erasures');
select private.append_only('app.erasure_runs');
alter table app.erasures enable row level security;
alter table app.erasures force row level security;
alter table app.erasure_runs enable row level security;
alter table app.erasure_runs force row level security;
create policy "members read their tenant's requests for erasure" on app.erasures for select to authenticated
    using (tenant_id = (select private.current_tenant()));
create policy "members read what requests for erasure found in their environment" on app.erasure_runs for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.erasures, app.erasure_runs to authenticated;

-- What of an observation is due: all of it, by its age or because its run is asked for and over, or classes of data in it.
create or replace function private.due_for_erasure(p_row app.observations, out everything boolean, out classes text[])
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_spec jsonb;
    v_age interval := clock_timestamp() - coalesce(p_row.finished_at, p_row.created_at);
begin
    select v.spec into v_spec from app.runs r
        join app.workflow_versions v on v.tenant_id = r.tenant_id and v.workflow_id = r.workflow_id and v.version = r.workflow_version
        where r.tenant_id = p_row.tenant_id and r.id = p_row.run_id;
    everything := v_age >= make_interval(days => coalesce((v_spec ->> 'retention_days')::integer, 365))
        or exists (select from app.erasure_runs where tenant_id = p_row.tenant_id and run_id = p_row.run_id)
            and not private.is_open_run(p_row.tenant_id, p_row.run_id);
    classes := array(select c.key from jsonb_each_text(coalesce(v_spec -> 'retention', '{}')) c
        where v_age >= make_interval(days => c.value::integer) and exists (
            select from jsonb_each(coalesce(p_row.labels, '{}')) l where private.class_of_label(l.value) = c.key)
        order by c.key);
end
$$;

alter table app.runs add column erased_at timestamptz;
alter table app.actions add column erased_at timestamptz;
alter table app.attempts add column erased_at timestamptz;
alter table app.decisions add column erased_at timestamptz;
alter table app.exceptions add column erased_at timestamptz;
grant select (erased_at) on app.runs, app.actions, app.attempts, app.decisions, app.exceptions to authenticated;
create index runs_not_erased on app.runs (created_at) where erased_at is null;
-- The digest goes on naming the bytes that were approved, also when they are gone.
alter table app.actions drop constraint digest_of_payload, add constraint digest_of_payload
    check (erased_at is not null or digest = 'sha256:' || encode(sha256(convert_to(payload, 'UTF8')), 'hex'));

-- Findings without anybody's words: which check said what, by which rule.
create function private.erased_findings(p_findings jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg((f - 'pointer') || '{"message": "Erased."}'), '[]') from jsonb_array_elements(coalesce(p_findings, '[]')) f
$$;

-- A decision without anybody's words in it: what it decided, by which checks and rules, of which versions.
create function private.erased_decision(p_document jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select p_document || jsonb_build_object('grounds', '[]'::jsonb, 'signals', '[]'::jsonb, 'limits', '[]'::jsonb, 'risk', null,
        'findings', private.erased_findings(p_document -> 'findings'))
$$;

-- A stored answer without what it repeats of an erased run, action or evaluation. One that gave a permit out says no more with which
-- arguments: null, so that nobody takes it for a permit.
create function private.erased_answer(p_answer jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select p_answer
        || case when p_answer ? 'instruction' then '{"instruction": "", "subject": null}' else '{}'::jsonb end
        || case when jsonb_typeof(p_answer -> 'decision') = 'object'
            then jsonb_build_object('decision', private.erased_decision(p_answer -> 'decision')) else '{}' end
        || case when p_answer ? 'findings' then private.erased_decision(p_answer) else '{}' end
        || case when p_answer ? 'attempt_id' and p_answer ? 'args' then '{"args": null}' else '{}'::jsonb end
$$;

-- What is left of a row of an erased run is made here, from the row as it was: whoever erases can neither change nor keep anything.
create function private.erase_content() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_row jsonb := to_jsonb(new);
    v_run app.runs;
    v_left jsonb;
begin
    if tg_op = 'INSERT' then
        if new.erased_at is not null then
            perform private.fail(409, 'not_due', 'Nothing begins as erased.');
        end if;
        return new;
    elsif new.erased_at is not distinct from old.erased_at then
        return new;
    end if;
    v_principal := private.require('observations.erase');
    if v_principal.kind <> 'system' or v_principal.tenant_id <> old.tenant_id then
        perform private.fail(403, 'permission_denied', 'Only the scheduled function erases.');
    elsif old.erased_at is not null then
        perform private.fail(409, 'already_erased', 'This is erased already.');
    end if;
    v_row := to_jsonb(old);
    select * into v_run from app.runs where tenant_id = old.tenant_id
        and id = (v_row ->> case when tg_table_name = 'runs' then 'id' else 'run_id' end)::uuid;
    if not found or private.why_run_is_due(v_run) is null then
        perform private.fail(409, 'not_due', 'This run is still to be kept.');
    end if;
    v_left := case tg_table_name
        when 'runs' then '{"instruction": "", "subject": null}'
        when 'actions' then jsonb_build_object('payload', ((v_row ->> 'payload')::jsonb || '{"args": {}}')::text, 'rationale', '',
            'citations', '[]'::jsonb, 'evidence', '[]'::jsonb, 'subject', null, 'moved', null, 'status_reason', null)
        when 'attempts' then jsonb_build_object('response',
            case when jsonb_typeof(v_row -> 'response') = 'object' then (v_row -> 'response') - 'body' end, 'request', null, 'error', null)
        when 'decisions' then jsonb_build_object('document', private.erased_decision(v_row -> 'document'),
            'reasons', private.erased_findings(v_row -> 'reasons'), 'proposal', null, 'basis', null)
        when 'exceptions' then jsonb_build_object('class', case when jsonb_typeof(v_row -> 'class') = 'object' then
            (v_row -> 'class') || jsonb_build_object('counterparties', '[]'::jsonb,
                'attributes', coalesce(v_row -> 'class' -> 'attributes', '{}') - 'counterparty') end)
    end;
    new := jsonb_populate_record(old, v_left || jsonb_build_object('erased_at', clock_timestamp()));
    return new;
end
$$;

-- Every other guard of these tables watches every other column, and this one alone `erased_at`. (A column that is new later has to
-- be added to them: tests/db/test_erasure.py compares.)
do $$
declare
    v_table text;
    v_columns text;
    v_trigger record;
begin
    foreach v_table in array array['runs', 'actions', 'attempts', 'decisions', 'exceptions'] loop
        select string_agg(quote_ident(attname), ', ' order by attnum) into v_columns from pg_attribute
            where attrelid = format('app.%I', v_table)::regclass and attnum > 0 and not attisdropped and attname <> 'erased_at';
        for v_trigger in
            select tgname, pg_get_triggerdef(oid) as def from pg_trigger
            where tgrelid = format('app.%I', v_table)::regclass and not tgisinternal
                and tgtype & 19 = 19 and tgattr::text = ''  -- of rows, before, and of updates of any column
        loop
            execute format('drop trigger %I on app.%I', v_trigger.tgname, v_table);
            execute replace(v_trigger.def, 'UPDATE ON ', format('UPDATE OF %s ON ', v_columns));
        end loop;
        execute format('create trigger z_erase before insert or update of erased_at on app.%I '
            'for each row execute function private.erase_content()', v_table);
        perform private.guard_table(format('app.%I', v_table)::regclass);
    end loop;
end
$$;

-- Why a decision cannot be made again from what it was made from; null when it can.
create or replace function private.replay_obstacle(p_decision app.decisions) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select case
        when p_decision.erased_at is not null then 'observations_erased'
        when p_decision.basis is null then 'no_basis'
        when exists (select from app.observations o where o.tenant_id = p_decision.tenant_id and o.run_id = p_decision.run_id
            and p_decision.basis ? 'observed' and o.status = 'succeeded'
            and (o.number is null or o.number <= (p_decision.basis ->> 'observed')::integer)
            and (o.erased_at > p_decision.decided_at or (o.erased_at is null and cardinality(o.erased_classes) > 0)))
        then 'observations_erased' end
$$;

create index idempotency_keys_by_answer on app.idempotency_keys (tenant_id, (answer ->> 'id')) where answer ? 'id';
create index idempotency_keys_by_permit on app.idempotency_keys (tenant_id, (answer ->> 'action_id')) where answer ? 'attempt_id';

-- An idempotency key names one request for ever. Its answer loses what it repeats of an observation, a run, an action or a decision that is
-- erased; the whole row may go after 30 days.
create or replace function private.guard_idempotency_key() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'UPDATE' and to_jsonb(new) - 'answer' = to_jsonb(old) - 'answer' and old.answer ? 'labels' and exists (
        select from app.observations o where o.tenant_id = new.tenant_id and o.id = (old.answer ->> 'id')::uuid
            and (o.erased_at is not null or cardinality(o.erased_classes) > 0)
            and new.answer = private.observation_document(o)) then
        return new;
    elsif tg_op = 'UPDATE' and to_jsonb(new) - 'answer' = to_jsonb(old) - 'answer' and old.answer ? 'id'
        and new.answer = private.erased_answer(old.answer) and (
            exists (select from app.runs where tenant_id = new.tenant_id and id::text = old.answer ->> 'id' and erased_at is not null)
            or exists (select from app.actions where tenant_id = new.tenant_id and id::text = old.answer ->> 'id' and erased_at is not null)
            or exists (select from app.decisions where tenant_id = new.tenant_id and id::text = old.answer ->> 'id' and erased_at is not null)) then
        return new;
    elsif tg_op = 'UPDATE' and to_jsonb(new) - 'answer' = to_jsonb(old) - 'answer' and old.answer ? 'attempt_id'
        and new.answer = private.erased_answer(old.answer) and exists (select from app.actions
            where tenant_id = new.tenant_id and id::text = old.answer ->> 'action_id' and erased_at is not null) then
        return new;
    elsif tg_op = 'UPDATE' or old.created_at > now() - interval '30 days' then
        perform private.fail(409, 'append_only', 'An idempotency key names one request for ever.');
    end if;
    return old;
end
$$;

-- For every caller, whoever owns the table: an erased run is over, and what would be written into it would stay for ever. Waits for
-- whoever is erasing it.
create function private.refuse_erased_run() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_erased timestamptz;
begin
    select erased_at into v_erased from app.runs where tenant_id = new.tenant_id and id = new.run_id for key share;
    if v_erased is not null then
        perform private.fail(409, 'run_erased', 'This run was erased; start a new run.');
    end if;
    return new;
end
$$;
create trigger a_refuse_erased_run before insert on app.observations for each row execute function private.refuse_erased_run();
create trigger a_refuse_erased_run before insert on app.actions for each row execute function private.refuse_erased_run();
create trigger a_refuse_erased_run before insert on app.decisions for each row execute function private.refuse_erased_run();

-- Records a request with the runs that it is about, and with those that could not be looked through: whoever asked is told of these until a
-- person has dealt with them. Such a run is erased as any other one. args: {id, subject, reason, searched_to, run_ids, unread?, unread_count?}
create function app.request_erasure_v1(p_args jsonb) returns jsonb
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

-- Runs of any tenant of which something is due, oldest first: all of them, or keys of classes of data.
create function app.claim_expired_runs_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', tenant_id, 'id', id)), '[]') from (
        select r.tenant_id, r.id from app.runs r left join app.run_keys k on k.tenant_id = r.tenant_id and k.run_id = r.id
        where r.erased_at is null and (private.why_run_is_due(r) is not null
            or k.status <> 'destroyed' and cardinality((private.due_run_keys(k)).buckets) > 0)
        order by r.created_at limit p_limit) found
$$;

-- Erases what is due of these runs: keys first, then what was read, and when all of a run is due everything else that it holds, with
-- the stored answers that repeat it. args: {ids}. Answers {erased: so many runs of which something went}.
create function app.erase_runs_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('observations.erase');
    v_run app.runs;
    v_keys app.run_keys;
    v_due record;
    v_erased integer := 0;
begin
    for v_run in
        select * from app.runs where tenant_id = v_principal.tenant_id and erased_at is null
            and id = any (array(select jsonb_array_elements_text(p_args -> 'ids')::uuid)) order by id for update
    loop
        select * into v_keys from app.run_keys where tenant_id = v_run.tenant_id and run_id = v_run.id for update;
        if found and v_keys.status <> 'destroyed' then
            v_due := private.due_run_keys(v_keys);
            if cardinality(v_due.buckets) > 0 then
                update app.run_keys set destroyed = destroyed || (select jsonb_object_agg(b, true) from unnest(v_due.buckets) b)
                    where tenant_id = v_run.tenant_id and run_id = v_run.id;
            end if;
        end if;
        perform app.erase_observations_v1(jsonb_build_object('ids', (select coalesce(jsonb_agg(id), '[]') from app.observations
            where tenant_id = v_run.tenant_id and run_id = v_run.id and erased_at is null)));
        v_erased := v_erased + 1;
        continue when private.why_run_is_due(v_run) is null;
        update app.exceptions set erased_at = now() where tenant_id = v_run.tenant_id and run_id = v_run.id and erased_at is null;
        update app.attempts set erased_at = now() where tenant_id = v_run.tenant_id and run_id = v_run.id and erased_at is null;
        update app.decisions set erased_at = now() where tenant_id = v_run.tenant_id and run_id = v_run.id and erased_at is null;
        update app.actions set erased_at = now() where tenant_id = v_run.tenant_id and run_id = v_run.id and erased_at is null;
        update app.runs set erased_at = now() where tenant_id = v_run.tenant_id and id = v_run.id;
        update app.idempotency_keys set answer = private.erased_answer(answer)
            where tenant_id = v_run.tenant_id and answer ? 'id' and not answer ? 'labels' and answer ->> 'id' in (
                select v_run.id::text union all
                select id::text from app.actions where tenant_id = v_run.tenant_id and run_id = v_run.id union all
                select id::text from app.decisions where tenant_id = v_run.tenant_id and run_id = v_run.id);
        update app.idempotency_keys set answer = private.erased_answer(answer)
            where tenant_id = v_run.tenant_id and answer ? 'attempt_id' and answer ->> 'action_id' in (
                select id::text from app.actions where tenant_id = v_run.tenant_id and run_id = v_run.id);
    end loop;
    return jsonb_build_object('erased', v_erased);
end
$$;

select private.guard_table('app.erasures');
select private.guard_table('app.erasure_runs');
select private.guard_table('app.observations');
select private.guard_table('app.actions');
select private.guard_table('app.decisions');
revoke all on all functions in schema app, private from public;
grant execute on function app.request_erasure_v1, app.erase_runs_v1 to authenticated;
grant execute on function app.claim_expired_runs_v1 to countersign_worker;
