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

-- Recomputes the events after `after`, at most `limit` of them, from the stored hash of the one before; the last part is compared with the
-- head. Signed heads have to fit, also those that lie behind a head that was moved back. Numbers are compared as texts: a record whose
-- number is none is broken, and no error. Answers {ok, after, last, head_seq, head, done, broken_at}.
create function private.verify_part(p_tenant uuid, p_after bigint, p_limit bigint) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_head app.audit_heads;
    v_base bytea;
    v_end bytea;
    v_last bigint;
    v_count bigint;
    v_broken bigint;
begin
    select * into v_head from app.audit_heads where tenant_id = p_tenant;
    v_base := case when p_after = 0 then sha256(convert_to(p_tenant::text, 'UTF8'))
        else (select hash from app.audit_events where tenant_id = p_tenant and seq = p_after) end;
    v_last := least(p_after + p_limit, coalesce(v_head.seq, 0));
    select count(*), min(e.seq) filter (where e.prev_hash is distinct from e.expected_prev or e.seq <> p_after + e.row_number or not e.own)
    into v_count, v_broken
    from (
        select o.*, row_number() over w as row_number, coalesce(lag(o.hash) over w, v_base) as expected_prev
        from (select seq, prev_hash, hash,
                hash = sha256(prev_hash || convert_to(record, 'UTF8')) and record::jsonb ->> 'seq' is not distinct from seq::text as own
            from app.audit_events where tenant_id = p_tenant and seq > p_after and seq <= v_last) o
        window w as (order by o.seq)
    ) e;
    -- A tenant begins with events, so none at all means that they were removed; what is behind the head came past it.
    if v_broken is null and (coalesce(v_head.seq, 0) = 0 or (p_after > 0 and v_base is null and p_after <= v_head.seq)
        or v_count <> greatest(v_last - p_after, 0)) then
        v_broken := p_after + v_count + 1;
    end if;
    if v_broken is null and v_last = v_head.seq then
        select hash into v_end from app.audit_events where tenant_id = p_tenant and seq = v_head.seq;
        if v_end is distinct from v_head.hash then
            v_broken := v_head.seq;
        elsif exists (select from app.audit_events where tenant_id = p_tenant and seq > v_head.seq) then
            v_broken := v_head.seq + 1;
        end if;
    end if;
    if v_broken is null then
        select min(least(c.seq, v_head.seq + 1)) into v_broken from app.audit_checkpoints c
            where c.tenant_id = p_tenant and c.seq > p_after and (c.seq <= v_last or v_last >= v_head.seq)
            and not exists (select from app.audit_events e where e.tenant_id = c.tenant_id and e.seq = c.seq and e.hash = c.hash);
    end if;
    return jsonb_build_object('ok', v_broken is null, 'after', p_after, 'last', greatest(v_last, p_after), 'head_seq', coalesce(v_head.seq, 0),
        'head', encode(v_head.hash, 'hex'), 'done', v_last >= coalesce(v_head.seq, 0), 'broken_at', v_broken);
end
$$;

-- A part of the chain, for whoever may read it. args: {after, limit}
create or replace function app.verify_audit_part_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('audit.read');
begin
    return private.verify_part(v_principal.tenant_id, greatest((p_args ->> 'after')::bigint, 0),
        least(greatest((p_args ->> 'limit')::bigint, 1), 100000));
end
$$;

-- The whole chain in one part. Answers {ok, events, head, broken_at}.
create or replace function app.verify_audit_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('audit.read');
    v_whole jsonb := private.verify_part(v_principal.tenant_id, 0, 9000000000000000);
begin
    return jsonb_build_object('ok', v_whole -> 'ok', 'head', v_whole -> 'head', 'broken_at', v_whole -> 'broken_at',
        'events', (select count(*) from app.audit_events where tenant_id = v_principal.tenant_id));
end
$$;

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

-- As it was, and what the watch over the log found: it looks at all of it, and not at its end alone.
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

-- As it was; the head of the chain comes with what the watch over it found last. args: {types: [...]}
create or replace function app.controls_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.read');
    v_since constant text := to_char((now() - interval '30 days') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    v_hard_gates jsonb := private.hard_gates();
    v_from bigint;
    v_workflows jsonb;
    v_live bigint;
    v_third jsonb;
    v_events jsonb;
begin
    select seq into v_from from app.audit_events where tenant_id = v_principal.tenant_id and at >= v_since order by at limit 1;
    select count(*) into v_live from app.workflows w where w.tenant_id = v_principal.tenant_id and w.live_version is not null
        and w.environment = coalesce(private.current_environment(), w.environment);
    -- The third looks at the tenant's log alone: what it says of one workflow it says of all.
    select private.control_of(3, w, v) into v_third from app.workflows w
        join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
        where w.tenant_id = v_principal.tenant_id limit 1;
    select coalesce(jsonb_agg(jsonb_build_object('slug', w.slug, 'title', w.title, 'version', w.live_version, 'status', 'live',
        'environment', w.environment, 'checked_at', clock_timestamp(), 'hard_gates', v_hard_gates,
        'controls', private.readiness(w.tenant_id, w.id, w.live_version, v_third)) order by w.environment, w.title, w.slug), '[]')
    into v_workflows from (select * from app.workflows w where w.tenant_id = v_principal.tenant_id and w.live_version is not null
        and w.environment = coalesce(private.current_environment(), w.environment) order by w.created_at, w.id limit 100) w;
    select jsonb_object_agg(t.type, (select count(*) from (select from app.audit_events e where e.tenant_id = v_principal.tenant_id
        and e.type = t.type and e.seq >= v_from limit 1000) counted))
    into v_events from private.text_items(p_args -> 'types') t (type);
    return jsonb_build_object('tenant', (select jsonb_build_object('id', tenant_id, 'name', name) from app.tenants where tenant_id = v_principal.tenant_id),
        'checked_at', clock_timestamp(), 'since', v_since, 'hard_gates', v_hard_gates,
        'chain', (select jsonb_build_object('seq', seq, 'hash', encode(hash, 'hex')) || private.watch_of(tenant_id)
            from app.audit_heads where tenant_id = v_principal.tenant_id),
        'workflows', v_workflows, 'more', greatest(v_live - 100, 0), 'events', coalesce(v_events, '{}'));
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.watch_audit_v1, app.tell_of_audit_v1, app.sign_audit_head_v1 to authenticated;
grant execute on function app.claim_audit_watches_v1, app.read_heartbeats_v1 to countersign_worker;
