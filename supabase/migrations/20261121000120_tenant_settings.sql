-- What a tenant decides about itself. Each change is a version of its own, so that who lifted which protection, and why,
-- stays to be read. A tenant without a version has the defaults.

create table app.tenant_settings (
    tenant_id uuid not null references app.tenants,
    version integer not null check (version > 0),
    -- Whether who made a service account, or issued the key that proposed, is kept from approving what it proposes.
    separation_of_duties boolean not null,
    reason text not null default '' check (length(reason) <= 2000),
    changed_by uuid not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, version)
);

-- The settings in force.
create function private.settings_of(p_tenant uuid) returns app.tenant_settings
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select * from app.tenant_settings where tenant_id = p_tenant order by version desc limit 1
$$;

-- An owner changes them in his own name, one version after the other, and says why he lifts a protection.
create function private.guard_settings() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('tenant.manage');
    v_before app.tenant_settings;
begin
    if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id or v_principal.id <> new.changed_by then
        perform private.fail(403, 'people_only', 'An owner changes the settings in his own name.');
    end if;
    perform private.lock_tenant(new.tenant_id, true);
    v_before := private.settings_of(new.tenant_id);
    if new.version <> coalesce(v_before.version, 0) + 1 then
        perform private.fail(409, 'settings_moved', 'The settings have changed meanwhile; load them again.');
    elsif v_before.separation_of_duties and not new.separation_of_duties and trim(new.reason) = '' then
        perform private.fail(422, 'reason_required', 'Say why the separation of duties is lifted; the reason is kept in the audit log.');
    end if;
    new.created_at := clock_timestamp();
    return new;
end
$$;
create trigger tenant_settings_guard before insert on app.tenant_settings
    for each row execute function private.guard_settings();
select private.audit_table('app.tenant_settings', 'tenant_settings', 'changed', 'version separation_of_duties changed_by', 'reason');
select private.append_only('app.tenant_settings');

alter table app.tenant_settings enable row level security;
alter table app.tenant_settings force row level security;
create policy "members read their tenant's settings" on app.tenant_settings for select to authenticated
    using (tenant_id = (select private.current_tenant()));
grant select on app.tenant_settings to authenticated;

-- The tenant as the API shows it. `etag` names what can be edited: another name or version is another one.
create function private.tenant_answer(p_principal private.principal) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', t.tenant_id, 'name', t.name, 'role', p_principal.role, 'created_at', t.created_at,
        'settings', jsonb_build_object('separation_of_duties', coalesce(s.separation_of_duties, false)),
        'etag', left(encode(sha256(convert_to(jsonb_build_array(t.tenant_id, t.name, s.version)::text, 'UTF8')), 'hex'), 32))
    from app.tenants t left join lateral (
        select * from app.tenant_settings where tenant_id = t.tenant_id order by version desc limit 1) s on true
    where t.tenant_id = p_principal.tenant_id
$$;

create function app.get_tenant_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return private.tenant_answer(private.require('tenant.read'));
end
$$;

-- Renames the tenant or changes its settings. CS412 unless `if_match` (null: any) holds the etag of now.
-- args: {if_match: [etag], name?, separation_of_duties?, reason?}
create function app.update_tenant_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('tenant.manage');
    v_before jsonb;
    v_separation boolean := (p_args ->> 'separation_of_duties')::boolean;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    v_principal := private.require('tenant.manage');
    v_before := private.tenant_answer(v_principal);
    if jsonb_typeof(p_args -> 'if_match') = 'array' and not (p_args -> 'if_match') ? (v_before ->> 'etag') then
        perform private.fail(412, 'precondition_failed', 'The tenant has changed meanwhile; load it again.');
    end if;
    if p_args ->> 'name' is distinct from v_before ->> 'name' and p_args ->> 'name' is not null then
        update app.tenants set name = p_args ->> 'name' where tenant_id = v_principal.tenant_id;
    end if;
    if v_separation is distinct from (v_before -> 'settings' ->> 'separation_of_duties')::boolean and v_separation is not null then
        insert into app.tenant_settings (tenant_id, version, separation_of_duties, reason, changed_by)
        values (v_principal.tenant_id, coalesce((private.settings_of(v_principal.tenant_id)).version, 0) + 1, v_separation,
            coalesce(p_args ->> 'reason', ''), v_principal.id);
    end if;
    return private.tenant_answer(v_principal);
end
$$;

-- Which key proposed, for who issued it to be told apart from who did not. Stamped, whatever the row says.
alter table app.actions add column proposed_with uuid;

-- As it was, and the key with which it was proposed; an edited payload is still the proposal of the key that began it.
create or replace function private.guard_proposer() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.current_principal();
    v_proposer record;
begin
    if new.supersedes is null then
        v_proposer := row(v_principal.kind, v_principal.id, null::uuid);
        new.proposed_with := v_principal.key_id;
    else
        select proposed_by_kind, proposed_by, v_principal.id into v_proposer from app.actions
            where tenant_id = new.tenant_id and id = new.supersedes and status = 'superseded' and v_principal.kind = 'user';
        select proposed_with into new.proposed_with from app.actions where tenant_id = new.tenant_id and id = new.supersedes;
    end if;
    if v_principal.tenant_id is distinct from new.tenant_id
        or v_proposer is distinct from row(new.proposed_by_kind, new.proposed_by, new.edited_by) then
        perform private.fail(403, 'not_the_proposer', 'An action is proposed or edited in the caller''s own name.');
    end if;
    perform private.require_environment(v_principal, new.environment);
    return new;
end
$$;

-- Whether the tenant separates duties and this person made the account, or issued the key, that proposed the action. Of
-- what was proposed before keys were noted, every key of the account counts.
create function private.made_the_proposer(p_action app.actions, p_user uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce((private.settings_of(p_action.tenant_id)).separation_of_duties, false)
        and p_action.proposed_by_kind = 'service'
        and (exists (select from app.service_accounts where tenant_id = p_action.tenant_id
                and id = p_action.proposed_by and created_by = p_user)
            or exists (select from app.api_keys where tenant_id = p_action.tenant_id
                and service_account_id = p_action.proposed_by and created_by = p_user
                and id = coalesce(p_action.proposed_with, id)))
$$;

-- As it was, and without those whom a separation of duties keeps out, also when it was turned on after they approved.
create or replace function private.approvals_for(p_action app.actions) returns integer
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Whoever has left, or lost the role since, has taken his approval along.
    return (select count(distinct a.user_id) from app.approvals a
    join app.members m on m.tenant_id = a.tenant_id and m.user_id = a.user_id and m.role = any (p_action.required_roles)
    where m.role = any (select unnest(roles) from private.permissions where permission = 'exceptions.decide') and a.tenant_id = p_action.tenant_id and a.action_id = p_action.id and a.verdict = 'approve'
        and a.digest = p_action.digest and a.expires_at > clock_timestamp()
        and a.user_id is distinct from p_action.proposed_by and a.user_id is distinct from p_action.edited_by
        and a.role = any (p_action.required_roles)
        and (a.aal = 'aal2' or (p_action.required_aal = 'aal1' and p_action.effect <> 'money_movement'))
        and not private.made_the_proposer(p_action, a.user_id));
end
$$;

-- As it was, and refuses whom a separation of duties keeps out.
create or replace function private.guard_approval() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
    v_action app.actions;
begin
    select * into v_action from app.actions where tenant_id = new.tenant_id and id = new.action_id;
    if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id or v_principal.id <> new.user_id then
        perform private.fail(403, 'people_only', 'A person approves for himself only.');
    elsif v_action.status is distinct from 'awaiting_approval' then
        perform private.fail(409, 'not_awaiting_approval', format('The action is %s.', v_action.status));
    elsif new.digest <> v_action.digest then
        perform private.fail(409, 'digest_mismatch', 'The payload is not the one that was shown; load it again.');
    elsif new.verdict = 'approve' and new.user_id in (v_action.proposed_by, v_action.edited_by) then
        perform private.fail(403, 'own_payload', 'Who proposed or edited a payload cannot approve it.');
    elsif new.verdict = 'approve' and private.made_the_proposer(v_action, new.user_id) then
        perform private.fail(403, 'own_agent', 'This tenant separates duties: who made the service account or issued its key cannot approve what it proposes.');
    elsif new.verdict = 'approve' and not v_principal.role = any (v_action.required_roles) then
        perform private.fail(403, 'role_not_asked_for', format('This needs the approval of: %s.', array_to_string(v_action.required_roles, ', ')));
    elsif new.verdict = 'approve' and v_principal.aal is distinct from 'aal2'
        and (v_action.required_aal = 'aal2' or v_action.effect = 'money_movement') then
        perform private.fail(403, 'aal2_required', 'This approval needs a session with a second factor (aal2).');
    end if;
    new.environment := v_action.environment;
    new.run_id := v_action.run_id;
    new.role := v_principal.role;
    new.aal := coalesce(v_principal.aal, 'aal1');
    new.session_id := v_principal.session_id;
    new.created_at := clock_timestamp();
    new.expires_at := least(new.expires_at, clock_timestamp() + interval '7 days');
    return new;
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.get_tenant_v1, app.update_tenant_v1 to authenticated;
