-- What a review of erasure changed: a stored permit does not keep what it was for, and nothing new is kept in a run that is erased,
-- which nothing would ever erase again.

-- As it was; and the answer that gave a permit out says no more with which arguments. Null, so that nobody takes it for a permit.
create or replace function private.erased_answer(p_answer jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select p_answer
        || case when p_answer ? 'instruction' then '{"instruction": "", "subject": null}' else '{}'::jsonb end
        || case when jsonb_typeof(p_answer -> 'decision') = 'object'
            then jsonb_build_object('decision', private.erased_decision(p_answer -> 'decision')) else '{}' end
        || case when p_answer ? 'findings' then private.erased_decision(p_answer) else '{}' end
        || case when p_answer ? 'attempt_id' and p_answer ? 'args' then '{"args": null}' else '{}'::jsonb end
$$;

create index idempotency_keys_by_permit on app.idempotency_keys (tenant_id, (answer ->> 'action_id')) where answer ? 'attempt_id';

-- As it was; and a permit's answer loses the arguments of an action that is erased.
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

-- As it was; and of stored answers also those that name an action of the run. args: {ids}. Answers {erased: so many runs of which something went}.
create or replace function app.erase_runs_v1(p_args jsonb) returns jsonb
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

select private.guard_table('app.observations');
select private.guard_table('app.actions');
select private.guard_table('app.decisions');
revoke all on all functions in schema app, private from public;
grant execute on function app.erase_runs_v1 to authenticated;
