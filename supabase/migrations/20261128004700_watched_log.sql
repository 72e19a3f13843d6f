-- The audit log is verified again and again, whoever asks or does not: what was taken out of it, changed in it or written anew raises the
-- alarm of whoever answers for the organisation.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('audit.watch', '{}', false, true, false, 'verify the audit log by schedule, sign its head and say that it is broken');

-- How far the verification of each log has come, and what it found. No state of the tenant's: it is derived from the log alone, and what
-- follows from it is an alert. A pass begins at the first event and goes on to the head part by part.
create table private.audit_watches (
    tenant_id uuid primary key references app.tenants,
    began_at timestamptz not null default clock_timestamp(),     -- of the pass under way
    verified_seq bigint not null default 0,                      -- how far it has come
    whole_at timestamptz,                                        -- when it last came to the head and everything held
    anchor_seq bigint,                                           -- the head as it was then, which stays where it was
    anchor_hash bytea,
    next_at timestamptz not null default clock_timestamp(),
    broken_at bigint,                                            -- the first event that does not fit
    found_at timestamptz
);
create index audit_watches_due on private.audit_watches (next_at);
create index audit_watches_broken on private.audit_watches (found_at) where broken_at is not null;
revoke all on private.audit_watches from public;

-- Logs of any tenant that are to be looked at, those that have waited longest first, each with its newest signed head.
create function app.claim_audit_watches_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', d.tenant_id, 'signed', (
        select jsonb_build_object('seq', c.seq, 'hash', encode(c.hash, 'hex'), 'signature', c.signature, 'key_id', c.key_id)
        from app.audit_checkpoints c where c.tenant_id = d.tenant_id order by c.seq desc limit 1)) order by d.next_at), '[]')
    from (select t.tenant_id, coalesce(w.next_at, '-infinity') as next_at
        from app.tenants t left join private.audit_watches w on w.tenant_id = t.tenant_id
        where w.next_at is null or w.next_at <= clock_timestamp() order by 2, 1 limit p_limit) d
$$;

-- The first event that does not fit, by all that is known of a log: the part and the end that were just recomputed, a signature that is
-- not ours, and the head that was seen last time. What was rewritten whole is named by the first signed head that it does not meet.
create function private.first_misfit(p_watch private.audit_watches, p_part jsonb, p_end jsonb, p_forged bigint) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_found bigint := least((p_part ->> 'broken_at')::bigint, (p_end ->> 'broken_at')::bigint, p_forged);
begin
    if v_found is null and p_watch.anchor_seq is not null and not exists (select from app.audit_events
        where tenant_id = p_watch.tenant_id and seq = p_watch.anchor_seq and hash = p_watch.anchor_hash) then
        select least(min(c.seq), p_watch.anchor_seq, (p_part ->> 'head_seq')::bigint + 1) into v_found from app.audit_checkpoints c
            where c.tenant_id = p_watch.tenant_id and not exists (select from app.audit_events e
                where e.tenant_id = c.tenant_id and e.seq = c.seq and e.hash = c.hash);
    end if;
    return v_found;
end
$$;

-- Goes on with the verification of a log: the next part, its end, and that it still holds what it held. A log that is short is recomputed
-- whole every hour; a long one is followed to its head every hour and recomputed from the first event on once a day. What is broken is
-- broken until a whole pass finds nothing. Only one at a time looks at a log. args: {limit, forged_at?: whose signature is not ours}
-- Answers {looked, done, seq, head, broken_at, mended: it holds, and its alarm still stands}.
create function app.watch_audit_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('audit.watch');
    v_limit bigint := least(greatest((p_args ->> 'limit')::bigint, 1), 100000);
    v_watch private.audit_watches;
    v_part jsonb;
    v_end jsonb;
    v_broken bigint;
    v_now timestamptz;
begin
    insert into private.audit_watches (tenant_id) values (v_principal.tenant_id) on conflict do nothing;
    select * into v_watch from private.audit_watches where tenant_id = v_principal.tenant_id for update skip locked;
    if not found then
        return jsonb_build_object('looked', false, 'done', false, 'broken_at', null);
    end if;
    v_part := private.verify_part(v_watch.tenant_id, v_watch.verified_seq, v_limit);
    if not (v_part ->> 'done')::boolean then
        v_end := private.verify_part(v_watch.tenant_id, greatest((v_part ->> 'head_seq')::bigint - 1000, 0), 100000);
    end if;
    v_broken := private.first_misfit(v_watch, v_part, v_end, (p_args ->> 'forged_at')::bigint);
    v_now := clock_timestamp();
    if v_broken is not null then
        v_watch.broken_at := least(v_broken, v_watch.broken_at);
        v_watch.found_at := coalesce(v_watch.found_at, v_now);
    elsif (v_part ->> 'done')::boolean then
        v_watch.broken_at := null; v_watch.found_at := null;
        v_watch.whole_at := v_now;
        v_watch.anchor_seq := (v_part ->> 'head_seq')::bigint;
        v_watch.anchor_hash := decode(v_part ->> 'head', 'hex');
    end if;
    v_watch.verified_seq := case when v_broken is null then (v_part ->> 'last')::bigint else 0 end;
    if v_broken is not null or (v_part ->> 'done')::boolean
        and (v_watch.anchor_seq <= v_limit or v_watch.began_at < v_now - interval '1 day') then
        v_watch.verified_seq := 0;
        v_watch.began_at := v_now;
    end if;
    update private.audit_watches set began_at = v_watch.began_at, verified_seq = v_watch.verified_seq, whole_at = v_watch.whole_at,
        anchor_seq = v_watch.anchor_seq, anchor_hash = v_watch.anchor_hash, broken_at = v_watch.broken_at, found_at = v_watch.found_at,
        next_at = case when v_broken is not null or (v_part ->> 'done')::boolean then v_now + interval '1 hour' else v_now end
        where tenant_id = v_watch.tenant_id;
    return jsonb_build_object('looked', true, 'done', v_broken is not null or (v_part ->> 'done')::boolean, 'seq', v_part -> 'head_seq',
        'head', v_part -> 'head', 'broken_at', v_watch.broken_at,
        'mended', v_watch.broken_at is null and exists (select from app.alerts where tenant_id = v_watch.tenant_id
            and kind = 'audit.chain_broken' and subject_type = 'audit_log' and subject_id = v_watch.tenant_id::text and status <> 'resolved'));
end
$$;

-- Raises the alarm about a log that is broken, or ends it when the log holds again, as the last look found it. Apart from the look: where
-- the log is so broken that nothing can be written any more, the finding stands all the same. args: {}
create function app.tell_of_audit_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('audit.watch');
    v_watch private.audit_watches;
begin
    select * into v_watch from private.audit_watches where tenant_id = v_principal.tenant_id;
    if v_watch.broken_at is not null then
        perform private.raise_alert(v_watch.tenant_id, null, 'audit.chain_broken', 'critical', 'audit_log', v_watch.tenant_id::text,
            format('The audit log does not verify: event %s is the first that does not fit.', v_watch.broken_at),
            jsonb_build_object('broken_at', v_watch.broken_at, 'last_held_to', v_watch.anchor_seq), private.first_owner(v_watch.tenant_id));
    elsif v_watch.whole_at is not null then
        perform private.resolve_alert(v_watch.tenant_id, 'audit.chain_broken', 'audit_log', v_watch.tenant_id::text,
            format('The whole log verifies again, to event %s.', v_watch.anchor_seq));
    end if;
    return jsonb_build_object('broken_at', v_watch.broken_at);
end
$$;

-- Keeps a signature over a head of the log; of a head that is signed already nothing. args: {seq, hash, signature, key_id}
create function app.sign_audit_head_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('audit.watch');
    v_seq bigint;
begin
    insert into app.audit_checkpoints (tenant_id, seq, hash, signature, key_id)
        select e.tenant_id, e.seq, e.hash, p_args ->> 'signature', p_args ->> 'key_id' from app.audit_events e
        where e.tenant_id = v_principal.tenant_id and e.seq = (p_args ->> 'seq')::bigint and e.hash = decode(p_args ->> 'hash', 'hex')
    on conflict do nothing returning seq into v_seq;
    return jsonb_build_object('signed', v_seq is not null);
end
$$;

-- What the watch of the caller's log found last: {verified_at, verified_to, broken_at, found_at}, each null before the first look.
create function private.watch_of(p_tenant uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('verified_at', max(whole_at), 'verified_to', max(anchor_seq), 'broken_at', max(broken_at), 'found_at', max(found_at))
    from private.audit_watches where tenant_id = p_tenant
$$;

-- What watches the watchers, for whoever looks from outside: when each scheduled function ran last, how many logs are broken, and since when
-- the log that has waited longest for its verification has waited. Nothing of any tenant.
create function app.read_heartbeats_v1() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('now', clock_timestamp(),
        'functions', (select coalesce(jsonb_object_agg(function, succeeded_at), '{}') from private.function_runs),
        'broken_logs', (select count(*) from private.audit_watches where broken_at is not null),
        'unverified_since', (select min(coalesce(w.whole_at, t.created_at)) from app.tenants t
            left join private.audit_watches w on w.tenant_id = t.tenant_id where w.broken_at is null))
$$;

-- The third: the end of the audit log verifies, the watch found nothing in all of it, and what records and guards is in place. Of the log it
-- reads that end alone, and no more than one event too many: without a limit Postgres takes what lies behind the head for a third of the log
-- and reads all of it. Each event is hashed by itself, and only what came of it goes on, not what it says.
create or replace function private.readiness_3(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with head as (select seq, hash from app.audit_heads where tenant_id = p_workflow.tenant_id), events as (
        select e.seq, e.hash, e.own and e.prev_hash = coalesce(lag(e.hash) over w, e.root, e.prev_hash)
            and e.seq = h.seq - count(*) over () + row_number() over w as holds
        from head h cross join lateral (
            select a.seq, a.prev_hash, a.hash, a.hash = sha256(a.prev_hash || convert_to(a.record, 'UTF8')) as own,
                case when a.seq = 1 then sha256(convert_to(a.tenant_id::text, 'UTF8')) end as root
            from app.audit_events a where a.tenant_id = p_workflow.tenant_id and a.seq > h.seq - 1000
            order by a.seq desc limit 1001) e
        window w as (order by e.seq)
    )
    select case when not coalesce(bool_and(holds), false) or count(*) <> (select least(seq, 1000) from head)
            or max(seq) is distinct from (select seq from head)
            or (select hash from head) is distinct from (select hash from events order by seq desc limit 1)
            then 'The audit log does not verify to its head. Call GET /v1/audit/verify, and find out who changed it.' end,
        format('The last %s events of the audit log verify to its head, event %s.', count(*), max(seq)) from events
    union all
    select case when broken_at is not null then format('The audit log does not verify: event %s is the first that does not fit. '
            'Find out who changed the database, and restore it from a backup.', broken_at) end,
        format('The whole audit log verified to event %s, last at %s UTC.', anchor_seq, to_char(whole_at at time zone 'utc', 'YYYY-MM-DD HH24:MI'))
        from private.audit_watches where tenant_id = p_workflow.tenant_id and (broken_at is not null or whole_at is not null)
    union all
    select 'Changes are not recorded, because these triggers are gone or switched off: '
            || string_agg(relation || '.' || trigger, ', ') || '. Apply the migrations again.',
        'Every table that holds state records its changes.'
        from private.guards_off() where trigger = 'zz_audit_change' or relation like 'app.audit%'
    union all
    select 'What was written would not stand, because these guards are gone or switched off: '
            || string_agg(relation || '.' || trigger, ', ') || '. Apply the migrations again.',
        'The guards of every table are in place and fire for every session.'
        from private.guards_off() where trigger <> 'zz_audit_change' and relation not like 'app.audit%'
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.watch_audit_v1, app.tell_of_audit_v1, app.sign_audit_head_v1 to authenticated;
grant execute on function app.claim_audit_watches_v1, app.read_heartbeats_v1 to countersign_worker;
