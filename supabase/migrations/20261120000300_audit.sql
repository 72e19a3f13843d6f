-- The audit log: one hash chain per tenant, written by triggers in the transaction of the change itself.
-- Nothing else writes it, so a state change without its event, or an event without its change, cannot commit.

-- The head of each tenant's chain; its row lock is what orders the chain.
create table app.audit_heads (
    tenant_id uuid primary key references app.tenants,
    seq bigint not null,
    hash bytea not null
) with (fillfactor = 50);

-- `record` holds the exact bytes that are hashed: jsonb's text form, which sorts keys and fixes the spacing.
-- hash = sha256(prev_hash || record). The columns to search by are generated from it and cannot disagree.
create table app.audit_events (
    tenant_id uuid not null references app.tenants,
    seq bigint not null,
    prev_hash bytea not null,
    hash bytea not null,
    record text not null,
    type text not null generated always as (record::jsonb ->> 'type') stored,
    at text not null generated always as (record::jsonb ->> 'at') stored,
    environment text generated always as (record::jsonb ->> 'environment') stored,
    subject_id text generated always as (record::jsonb -> 'subject' ->> 'id') stored,
    action_id text generated always as (record::jsonb ->> 'action_id') stored,
    run_id text generated always as (record::jsonb ->> 'run_id') stored,
    principal_id text generated always as (record::jsonb -> 'principal' ->> 'id') stored,
    primary key (tenant_id, seq)
);
create index audit_events_by_action on app.audit_events (tenant_id, action_id, seq) where action_id is not null;
create index audit_events_by_run on app.audit_events (tenant_id, run_id, seq) where run_id is not null;
create index audit_events_by_subject on app.audit_events (tenant_id, subject_id, seq);
create index audit_events_by_type on app.audit_events (tenant_id, type, seq);

-- Signed heads, so that a rewritten chain can be told from the one that was seen before.
create table app.audit_checkpoints (
    tenant_id uuid not null references app.tenants,
    seq bigint not null,
    hash bytea not null,
    signature text not null,
    key_id text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, seq),
    foreign key (tenant_id, seq) references app.audit_events (tenant_id, seq)
);

select private.append_only('app.audit_checkpoints');

-- Who the record names: the verified claims, or the database login itself when somebody writes past the doors.
create function private.audit_principal() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_claims jsonb := private.claims();
begin
    return jsonb_strip_nulls(jsonb_build_object(
        'kind', coalesce(v_claims ->> 'kind', 'database'),
        'id', coalesce(v_claims ->> 'sub', v_claims ->> 'function', (
            select service_account_id::text from app.api_keys where id = (v_claims ->> 'key_id')::uuid), session_user::text),
        'key_id', v_claims ->> 'key_id', 'aal', v_claims ->> 'aal', 'session_id', v_claims ->> 'session_id',
        'on_behalf_of', v_claims -> 'on_behalf_of', 'login', session_user::text));
end
$$;

-- Stamps, chains and attributes an event, whoever inserts it: seq, time, principal and hashes are never the caller's.
create function private.chain_event() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_seq bigint;
    v_hash bytea;
begin
    if pg_trigger_depth() < 2 then
        raise exception using errcode = 'CS409', detail = 'append_only', message = 'Only a change itself writes its event.';
    end if;
    insert into app.audit_heads (tenant_id, seq, hash)
    values (new.tenant_id, 0, sha256(convert_to(new.tenant_id::text, 'UTF8'))) on conflict do nothing;
    select seq, hash into v_seq, v_hash from app.audit_heads where tenant_id = new.tenant_id for update;
    new.seq := v_seq + 1;
    new.prev_hash := v_hash;
    new.record := (new.record::jsonb || jsonb_build_object(
        'v', 1, 'seq', new.seq, 'tenant_id', new.tenant_id, 'principal', private.audit_principal(),
        'request_id', private.claims() ->> 'request_id',
        'at', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))::text;
    new.hash := sha256(v_hash || convert_to(new.record, 'UTF8'));
    update app.audit_heads set seq = new.seq, hash = new.hash where tenant_id = new.tenant_id;
    return new;
end
$$;
create trigger audit_events_chain before insert on app.audit_events
    for each row execute function private.chain_event();
select private.append_only('app.audit_events');

-- The head follows the log and nothing else.
create function private.guard_head() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' or pg_trigger_depth() < 3 then
        raise exception using errcode = 'CS409', detail = 'append_only', message = 'The head of the chain follows the log.';
    end if;
    return new;
end
$$;
create trigger audit_heads_guard before insert or update or delete on app.audit_heads
    for each row execute function private.guard_head();
select private.guard_table('app.audit_heads');

-- Writes the event of one changed row. Deferred to the commit, so that the head of the chain is locked last.
-- Arguments: noun; word for an insert; columns that tell what happened; columns that tell why.
-- An update is noun.status when `status` moved, else noun.updated; changes of mere bookkeeping are no events.
create function private.audit_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_new jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
    v_old jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    v_bookkeeping constant text[] := '{updated_at, control_epoch, refresh_lease_until}';
    v_word text;
    v_what jsonb;
    v_why jsonb;
begin
    if tg_op = 'INSERT' then
        v_word := tg_argv[1];
    elsif tg_op = 'DELETE' then
        v_word := 'removed';
    elsif v_new - v_bookkeeping = v_old - v_bookkeeping then
        return null;
    elsif v_new ->> 'status' is distinct from v_old ->> 'status' then
        v_word := v_new ->> 'status';
    else
        v_word := 'updated';
    end if;
    -- Inline and not in a function of its own, which would cost more than all the rest of this.
    select jsonb_object_agg(key, value) filter (where key = any (string_to_array(tg_argv[2], ' '))),
        jsonb_object_agg(key, value) filter (where key = any (string_to_array(tg_argv[3], ' ')))
    into v_what, v_why from jsonb_each(v_new) where value <> 'null'::jsonb;
    insert into app.audit_events (tenant_id, record) values ((v_new ->> 'tenant_id')::uuid, jsonb_strip_nulls(jsonb_build_object(
        'type', tg_argv[0] || '.' || v_word,
        'subject', jsonb_build_object('type', tg_argv[0], 'id', coalesce(v_new ->> 'id', v_new ->> 'user_id', v_new ->> 'version', v_new ->> 'connection_id', v_new ->> 'tenant_id')),
        'environment', v_new ->> 'environment',
        'run_id', case when tg_argv[0] = 'run' then v_new ->> 'id' else v_new ->> 'run_id' end,
        'action_id', case when tg_argv[0] = 'action' then v_new ->> 'id' else v_new ->> 'action_id' end,
        'before', v_old ->> 'status', 'after', v_new ->> 'status',
        'what', v_what, 'why', v_why))::text);
    return null;
end
$$;

-- Attaches the audit trigger to a table, after its other triggers: the one line that every state-bearing table has.
create function private.audit_table(p_table regclass, p_noun text, p_word text, p_what text, p_why text default '') returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('create constraint trigger zz_audit_change after insert or update or delete on %s '
        'deferrable initially deferred for each row execute function private.audit_change(%L, %L, %L, %L)',
        p_table, p_noun, p_word, p_what, p_why);
    perform private.guard_table(p_table);
end
$$;

select private.audit_table('app.tenants', 'tenant', 'created', 'name');
select private.audit_table('app.members', 'member', 'added', 'user_id role email');
select private.audit_table('app.service_accounts', 'service_account', 'created', 'name disabled_at');
select private.audit_table('app.api_keys', 'key', 'issued', 'service_account_id prefix scopes expires_at revoked_at');

alter table app.audit_heads enable row level security;
alter table app.audit_heads force row level security;
alter table app.audit_events enable row level security;
alter table app.audit_events force row level security;
alter table app.audit_checkpoints enable row level security;
alter table app.audit_checkpoints force row level security;
create policy "members read the head of their chain" on app.audit_heads for select to authenticated
    using (tenant_id = (select private.current_tenant()));
create policy "members read their tenant's audit events of their environment" on app.audit_events for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));
create policy "members read their tenant's checkpoints" on app.audit_checkpoints for select to authenticated
    using (tenant_id = (select private.current_tenant()));
grant select on app.audit_heads, app.audit_events, app.audit_checkpoints to authenticated;

-- Recomputes the whole chain from the stored bytes and compares it with the heads that were signed. Answers {ok, events, head, broken_at}.
create function app.verify_audit_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('audit.read');
    v_head app.audit_heads;
    v_broken bigint;
    v_count bigint;
begin
    select * into v_head from app.audit_heads where tenant_id = v_principal.tenant_id;
    select count(*), min(e.seq) filter (where e.hash <> sha256(e.expected_prev || convert_to(e.record, 'UTF8'))
        or e.prev_hash <> e.expected_prev or e.seq <> e.row_number or (e.record::jsonb ->> 'seq')::bigint <> e.seq)
    into v_count, v_broken
    from (
        select seq, prev_hash, hash, record, row_number() over w as row_number,
            coalesce(lag(hash) over w, sha256(convert_to(v_principal.tenant_id::text, 'UTF8'))) as expected_prev
        from app.audit_events where tenant_id = v_principal.tenant_id
        window w as (order by seq)
    ) e;
    -- A tenant begins with events, so none at all means that they were removed.
    if v_broken is null and (v_count = 0 or v_count <> coalesce(v_head.seq, 0)) then
        v_broken := v_count + 1;  -- events are missing at the end
    end if;
    if v_broken is null and v_count > 0 and v_head.hash is distinct from (
        select hash from app.audit_events where tenant_id = v_principal.tenant_id and seq = v_count) then
        v_broken := v_count;
    end if;
    if v_broken is null then
        select min(c.seq) into v_broken from app.audit_checkpoints c where c.tenant_id = v_principal.tenant_id
            and not exists (select from app.audit_events e where e.tenant_id = c.tenant_id and e.seq = c.seq and e.hash = c.hash);
    end if;
    return jsonb_build_object('ok', v_broken is null, 'events', v_count, 'head', encode(v_head.hash, 'hex'), 'broken_at', v_broken);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.verify_audit_v1 to authenticated;
