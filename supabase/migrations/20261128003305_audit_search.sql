-- The audit log is searched by who and when, looked at event by event, and verified in parts, however long it is.

create index audit_events_by_principal on app.audit_events (tenant_id, principal_id, seq);
create index audit_events_by_time on app.audit_events (tenant_id, at);

-- One event with its place in the chain: the hash of the one before, its own recomputed from its bytes, the head, and the next signed head.
-- A key of one environment has no event of the other. args: {seq}
create function app.audit_event_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('audit.read');
    v_event app.audit_events;
    v_before bytea;
begin
    select * into v_event from app.audit_events e where e.tenant_id = v_principal.tenant_id and e.seq = (p_args ->> 'seq')::bigint
        and (e.environment is null or e.environment = coalesce(private.current_environment(), e.environment));
    if not found then
        perform private.fail(404, 'not_found', 'There is no such event.');
    end if;
    v_before := case when v_event.seq = 1 then sha256(convert_to(v_principal.tenant_id::text, 'UTF8'))
        else (select hash from app.audit_events where tenant_id = v_principal.tenant_id and seq = v_event.seq - 1) end;
    return jsonb_build_object('seq', v_event.seq, 'type', v_event.type, 'at', v_event.at, 'record', v_event.record,
        'prev_hash', encode(v_event.prev_hash, 'hex'), 'hash', encode(v_event.hash, 'hex'), 'event', v_event.record::jsonb,
        'hash_before', encode(v_before, 'hex'),
        'recomputed', encode(sha256(v_event.prev_hash || convert_to(v_event.record, 'UTF8')), 'hex'),
        'holds', v_before is not distinct from v_event.prev_hash
            and v_event.hash = sha256(v_event.prev_hash || convert_to(v_event.record, 'UTF8'))
            and (v_event.record::jsonb ->> 'seq')::bigint = v_event.seq,
        'head_seq', (select seq from app.audit_heads where tenant_id = v_principal.tenant_id),
        'signed_at_seq', (select min(seq) from app.audit_checkpoints where tenant_id = v_principal.tenant_id and seq >= v_event.seq));
end
$$;

-- Recomputes a part of the chain: the events after `after`, at most `limit`, from the stored hash of the one before; the last part is
-- compared with the head. Parts that join hold together. Signed heads have to fit, also those that lie behind a head that was moved back.
-- Of each event only whether it holds goes on, not what it says. Numbers are compared as texts: a record whose number is none is broken,
-- and no error. Answers {ok, after, last, head_seq, head, done, broken_at}.
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
create function app.verify_audit_part_v1(p_args jsonb) returns jsonb
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

revoke all on all functions in schema app, private from public;
grant execute on function app.audit_event_v1, app.verify_audit_part_v1 to authenticated;
