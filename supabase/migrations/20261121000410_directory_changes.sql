-- Proposing, deciding and withdrawing changes of the directory; the tables and their guards are in the file before.

-- What was approved is done, in the same transaction: there is no approved change that waits for somebody to apply it.
create function private.apply_directory_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_payload jsonb := new.payload::jsonb;
    v_entry jsonb := v_payload -> 'entry';
begin
    if new.kind = 'settings' then
        insert into app.directory_settings (tenant_id, version, cooling_off_hours, change_id)
        values (new.tenant_id, new.base_version + 1, (v_payload -> 'settings' ->> 'cooling_off_hours')::integer, new.id);
        return null;
    elsif new.kind = 'create' then
        insert into app.directory_entries (tenant_id, id, environment, kind, name, key, skeleton, version, change_id)
        values (new.tenant_id, new.entry_id, new.environment, v_entry ->> 'kind', v_entry ->> 'name', v_entry ->> 'key',
            v_entry ->> 'skeleton', 1, new.id);
    elsif new.kind = 'change' then
        update app.directory_entries set kind = v_entry ->> 'kind', name = v_entry ->> 'name', key = v_entry ->> 'key',
            skeleton = v_entry ->> 'skeleton', version = version + 1, change_id = new.id
            where tenant_id = new.tenant_id and id = new.entry_id;
    else
        update app.directory_entries set status = 'removed', version = version + 1, change_id = new.id
            where tenant_id = new.tenant_id and id = new.entry_id;
    end if;
    update app.directory_details d set status = 'removed', removed_by_change_id = new.id
        where tenant_id = new.tenant_id and entry_id = new.entry_id and status = 'active' and private.detail_in(new, d) is null;
    insert into app.directory_details (tenant_id, environment, entry_id, type, key, skeleton, value, trusted_from, change_id)
    select new.tenant_id, new.environment, new.entry_id, d ->> 'type', d ->> 'key', d ->> 'skeleton', d -> 'value', now(), new.id
    from jsonb_array_elements(v_payload -> 'details') d
    where not exists (select from app.directory_details o where o.tenant_id = new.tenant_id and o.entry_id = new.entry_id
        and o.status = 'active' and o.type = d ->> 'type' and o.key = d ->> 'key');
    return null;
end
$$;
create trigger directory_changes_apply after update on app.directory_changes
    for each row when (new.status = 'approved' and old.status = 'open') execute function private.apply_directory_change();
select private.guard_table('app.directory_changes');

create function private.directory_change_answer(p_change app.directory_changes) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_change.id, 'environment', p_change.environment, 'kind', p_change.kind,
        'entry_id', p_change.entry_id, 'base_version', p_change.base_version, 'status', p_change.status, 'digest', p_change.digest,
        'proposal', p_change.payload::jsonb, 'reason', p_change.reason, 'evidence', p_change.evidence,
        'proposed_by', jsonb_build_object('kind', p_change.proposed_by_kind, 'id', p_change.proposed_by),
        'decided_by', p_change.decided_by, 'decided_at', p_change.decided_at, 'decision_reason', p_change.decision_reason,
        'expires_at', p_change.expires_at, 'created_at', p_change.created_at)
$$;

-- Proposes a change. args: {id, environment, kind, entry_id, base_version, payload, digest, reason, evidence, expires_at}
create function app.propose_directory_change_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('directory.propose');
    v_change app.directory_changes;
begin
    -- What nobody decided in time is in nobody's way.
    update app.directory_changes set status = 'expired'
        where tenant_id = v_principal.tenant_id and status = 'open' and expires_at <= now()
            and coalesce(entry_id, tenant_id) = coalesce((p_args ->> 'entry_id')::uuid, v_principal.tenant_id);
    insert into app.directory_changes (tenant_id, id, environment, kind, entry_id, base_version, payload, digest, reason, evidence,
        proposed_by_kind, proposed_by, expires_at)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, p_args ->> 'environment', p_args ->> 'kind', (p_args ->> 'entry_id')::uuid,
        (p_args ->> 'base_version')::integer, p_args ->> 'payload', p_args ->> 'digest', p_args ->> 'reason', p_args -> 'evidence',
        v_principal.kind, v_principal.id, (p_args ->> 'expires_at')::timestamptz)
    returning * into v_change;
    return private.directory_change_answer(v_change);
exception when unique_violation then
    perform private.fail(409, 'change_open', 'Another change of this waits to be decided; decide or withdraw that one first.');
end
$$;

create function private.open_directory_change(p_principal private.principal, p_id uuid) returns app.directory_changes
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_change app.directory_changes;
begin
    select * into v_change from app.directory_changes where tenant_id = p_principal.tenant_id and id = p_id
        and (p_principal.environment is null or environment = p_principal.environment) for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such change.');
    elsif v_change.status <> 'open' then
        perform private.fail(409, 'already_decided', format('This change is %s already.', v_change.status));
    end if;
    return v_change;
end
$$;

-- Approves a change, which does it, or rejects it. args: {id, verdict: approve | reject, digest, reason}
create function app.decide_directory_change_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('directory.approve');
    v_change app.directory_changes;
begin
    -- Before any row, as decisions and claims do; and asked again, for who lost the permission while he waited.
    perform private.lock_tenant(v_principal.tenant_id, true);
    v_principal := private.require('directory.approve');
    v_change := private.open_directory_change(v_principal, (p_args ->> 'id')::uuid);
    if v_change.digest is distinct from p_args ->> 'digest' then
        perform private.fail(409, 'digest_mismatch', 'The change is not the one that was shown; load it again.');
    elsif p_args ->> 'verdict' is null or p_args ->> 'verdict' not in ('approve', 'reject') then
        perform private.fail(422, 'unknown_verdict', 'A verdict is approve or reject.');
    end if;
    update app.directory_changes set decided_by = v_principal.id, decision_reason = p_args ->> 'reason',
        status = case p_args ->> 'verdict' when 'approve' then 'approved' else 'rejected' end
        where tenant_id = v_change.tenant_id and id = v_change.id returning * into v_change;
    return private.directory_change_answer(v_change);
end
$$;

-- Takes a proposal back: who made it. args: {id, reason}
create function app.withdraw_directory_change_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('directory.propose');
    v_change app.directory_changes := private.open_directory_change(v_principal, (p_args ->> 'id')::uuid);
begin
    update app.directory_changes set status = 'withdrawn', decision_reason = p_args ->> 'reason'
        where tenant_id = v_change.tenant_id and id = v_change.id returning * into v_change;
    return private.directory_change_answer(v_change);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.propose_directory_change_v1, app.decide_directory_change_v1, app.withdraw_directory_change_v1
    to authenticated;
