-- Kill switches as they are shown: with what they stop now, and the proof of what they stopped; or in outline, because a page needs how much
-- that was and what comes first of it, not ten thousand actions.

-- A switch with how many items of the manual queue are open, and what it stops now. p_detail: also the proof of what it stopped, and what
-- became of what was in flight. A key sees what is in its own environment.
drop function private.kill_switch_document(app.kill_switches);
create function private.kill_switch_document(p_switch app.kill_switches, p_detail boolean) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_environment text := private.current_environment();
    v_proof app.kill_switch_proofs;
    v_shown jsonb;
begin
    v_shown := jsonb_build_object('id', p_switch.id, 'scope', p_switch.scope, 'target', p_switch.target, 'status', p_switch.status,
        'stage', p_switch.stage, 'staged_at', p_switch.staged_at,
        'reason', p_switch.reason, 'engaged_at', p_switch.engaged_at, 'released_at', p_switch.released_at,
        'manual', (select count(*) from app.exceptions e where e.tenant_id = p_switch.tenant_id and e.kill_switch_id = p_switch.id
            and e.status = 'open' and e.environment = coalesce(v_environment, e.environment)))
        || (select jsonb_build_object(
            'stopped', coalesce(jsonb_agg(a.id order by a.id) filter (where a.status <> 'executing'), '[]'),
            'in_flight', coalesce(jsonb_agg(a.id order by a.id) filter (where a.status = 'executing'), '[]'))
        from app.actions a where a.tenant_id = p_switch.tenant_id and a.status in ('awaiting_approval', 'authorized', 'executing')
            and a.environment = coalesce(v_environment, a.environment) and private.covers(p_switch, a));
    if not p_detail then
        return v_shown;
    end if;
    select * into v_proof from app.kill_switch_proofs where tenant_id = p_switch.tenant_id and id = p_switch.id;
    if not found then
        return v_shown || '{"proof": null}';
    end if;
    return v_shown || jsonb_build_object('proof', jsonb_build_object('digest', v_proof.digest, 'created_at', v_proof.created_at)
        || (select jsonb_object_agg(part.key, (select coalesce(jsonb_agg(case when part.key = 'in_flight'
                then line || jsonb_build_object('now', a.status, 'attempt_ended', t.status, 'ended_at', t.finished_at) else line end), '[]')
            from jsonb_array_elements(part.value) line
            left join app.actions a on part.key = 'in_flight' and a.tenant_id = p_switch.tenant_id and a.id = (line ->> 'action_id')::uuid
            left join app.attempts t on part.key = 'in_flight' and t.tenant_id = p_switch.tenant_id and t.id = (line ->> 'attempt_id')::uuid
            where line ->> 'environment' = coalesce(v_environment, line ->> 'environment')))
        from jsonb_each(v_proof.document) part));
end
$$;

-- As private.kill_switch_document with its proof, without what is stopped now; of each part of the proof how many lines there are and the
-- first of them, which alone are looked up. A key sees the lines of its environment.
create function private.kill_switch_outline(p_switch app.kill_switches, p_most integer) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_environment text := private.current_environment();
    v_proof app.kill_switch_proofs;
    v_shown jsonb;
begin
    v_shown := jsonb_build_object('id', p_switch.id, 'scope', p_switch.scope, 'target', p_switch.target, 'status', p_switch.status,
        'stage', p_switch.stage, 'staged_at', p_switch.staged_at,
        'reason', p_switch.reason, 'engaged_at', p_switch.engaged_at, 'released_at', p_switch.released_at,
        'manual', (select count(*) from app.exceptions e where e.tenant_id = p_switch.tenant_id and e.kill_switch_id = p_switch.id
            and e.status = 'open' and e.environment = coalesce(v_environment, e.environment)));
    select * into v_proof from app.kill_switch_proofs where tenant_id = p_switch.tenant_id and id = p_switch.id;
    if not found then
        return v_shown || '{"proof": null}';
    end if;
    return v_shown || jsonb_build_object('proof', jsonb_build_object('digest', v_proof.digest, 'created_at', v_proof.created_at)
        || (select jsonb_object_agg(part.key, jsonb_build_object('count', jsonb_array_length(seen.lines), 'first', (
                select coalesce(jsonb_agg(case when part.key = 'in_flight'
                    then line || jsonb_build_object('now', a.status, 'attempt_ended', t.status, 'ended_at', t.finished_at) else line end
                    order by place), '[]')
                from jsonb_array_elements(jsonb_path_query_array(seen.lines, '$[0 to $last]', jsonb_build_object('last', p_most - 1)))
                    with ordinality shown (line, place)
                left join app.actions a on part.key = 'in_flight' and a.tenant_id = p_switch.tenant_id and a.id = (line ->> 'action_id')::uuid
                left join app.attempts t on part.key = 'in_flight' and t.tenant_id = p_switch.tenant_id and t.id = (line ->> 'attempt_id')::uuid)))
            from jsonb_each(v_proof.document) part
            cross join lateral (select case when v_environment is null then part.value else (
                select coalesce(jsonb_agg(line order by place), '[]') from jsonb_array_elements(part.value) with ordinality o (line, place)
                where line ->> 'environment' = v_environment) end as lines) seen));
end
$$;

-- Every kill switch of the tenant, the newest first. args: {status?}
create or replace function app.list_kill_switches_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('kill_switches.read');
begin
    return (select coalesce(jsonb_agg(private.kill_switch_document(k, false) order by k.engaged_at desc), '[]') from app.kill_switches k
        where k.tenant_id = v_principal.tenant_id and k.status = coalesce(p_args ->> 'status', k.status));
end
$$;

-- One switch, with the proof of what it stopped and what became of what was in flight; with `most`, in outline. args: {id, most?}
create function app.get_kill_switch_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('kill_switches.read');
    v_switch app.kill_switches;
begin
    select * into v_switch from app.kill_switches where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such kill switch.');
    end if;
    if p_args ->> 'most' is not null then
        return private.kill_switch_outline(v_switch, greatest((p_args ->> 'most')::integer, 1));
    end if;
    return private.kill_switch_document(v_switch, true);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.get_kill_switch_v1 to authenticated;
