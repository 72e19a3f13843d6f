-- What a review found of people: an admin could move money alone, with a second address of his own that he let in as an
-- approver; nothing bounded the mails that a tenant sends; and some functions asked who calls before they waited, not after.

-- Whether only an owner gives a role: `owner`, and each that decides exceptions. Otherwise an admin, who proposes, would
-- approve with a second address of his own.
create function private.only_owners_give(p_role text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select p_role = 'owner' or exists (select from private.permissions where permission = 'exceptions.decide' and p_role = any (roles))
$$;

-- As it was, and of a role that only owners give, whether he is an owner still.
create or replace function private.invitation_stands(p_invitation app.invitations) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.members m
        join private.permissions p on p.permission = 'members.manage' and m.role = any (p.roles)
        where m.tenant_id = p_invitation.tenant_id and m.user_id = p_invitation.invited_by
            and (m.role = 'owner' or not private.only_owners_give(p_invitation.role)))
$$;

-- As it was, and only an owner invites, or sends an invitation again, to a role that only owners give.
create or replace function private.guard_invitation() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_claims jsonb := private.claims();
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'An invitation is never deleted; withdraw it.');
    elsif tg_op = 'UPDATE' and old.status <> 'open' then
        perform private.fail(409, 'invitation_ended', format('This invitation is %s.', old.status));
    elsif new.status = 'accepted' then
        if tg_op = 'INSERT' or old.expires_at <= clock_timestamp() then
            perform private.fail(409, 'invitation_expired', 'The invitation has expired; ask for another one.');
        elsif not private.invitation_stands(old) then
            perform private.fail(409, 'invitation_void', 'Whoever invited you may not do so any more; ask for another invitation.');
        elsif v_claims ->> 'kind' is distinct from 'user' or v_claims ->> 'sub' is distinct from new.accepted_by::text
            or lower(v_claims ->> 'verified_email') is distinct from old.email then
            perform private.fail(403, 'not_invited', 'An invitation is accepted by the person to whose address it was sent.');
        end if;
    elsif new.status = 'expired' then
        if tg_op = 'INSERT' or old.expires_at > clock_timestamp() then
            perform private.fail(409, 'not_expired', 'The invitation has not expired.');
        end if;
    else
        v_principal := private.require('members.manage');
        if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id then
            perform private.fail(403, 'people_only', 'Only a person of the tenant invites.');
        elsif (tg_op = 'INSERT' or new.invited_by <> old.invited_by or new.expires_at > old.expires_at)
            and new.invited_by <> v_principal.id then
            perform private.fail(403, 'own_name', 'A person invites in his own name.');
        elsif new.status = 'open' and private.only_owners_give(new.role) and v_principal.role <> 'owner' then
            perform private.fail(403, 'owner_required', format(
                'Only an owner can invite to the role %s, which decides exceptions; ask an owner to.', new.role));
        end if;
        new.expires_at := least(new.expires_at, clock_timestamp() + interval '7 days');
    end if;
    new.ended_at := case when new.status <> 'open' then now() end;
    return new;
end
$$;

-- As it was, and only an owner gives a role that only owners give. args: {user_id, role}
create or replace function app.change_role_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_user uuid := (p_args ->> 'user_id')::uuid;
    v_member app.members;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    v_principal := private.require('members.manage');
    select * into v_member from app.members where tenant_id = v_principal.tenant_id and user_id = v_user;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such member.');
    elsif v_principal.id = v_user then
        perform private.fail(403, 'own_role', 'Nobody changes his own role; another person does.');
    elsif v_principal.role <> 'owner' and 'owner' in (v_member.role, p_args ->> 'role') then
        perform private.fail(403, 'owner_required', 'Only an owner can make or change an owner.');
    elsif v_principal.role <> 'owner' and private.only_owners_give(p_args ->> 'role') then
        perform private.fail(403, 'owner_required', format(
            'Only an owner can give the role %s, which decides exceptions; ask an owner to.', p_args ->> 'role'));
    end if;
    update app.members set role = p_args ->> 'role' where tenant_id = v_principal.tenant_id and user_id = v_user
    returning * into v_member;
    return jsonb_build_object('user_id', v_member.user_id, 'role', v_member.role, 'email', v_member.email, 'name', v_member.name);
end
$$;

-- Refuses for a while, with CS429: the sentence says until when, the hint in how many seconds (api/errors.py).
create function private.fail_until(p_until timestamptz, p_code text, p_message text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using errcode = 'CS429', detail = p_code,
        message = format('%s Try again after %s UTC.', p_message,
            to_char(date_trunc('second', p_until at time zone 'utc') + interval '1 second', 'YYYY-MM-DD HH24:MI:SS')),
        hint = jsonb_build_array(jsonb_build_object(
            'retry_after', greatest(1, ceil(extract(epoch from p_until - clock_timestamp()))::integer)));
end
$$;

-- When an invitation was sent again, in the last day.
alter table app.invitations add column resent_at timestamptz[] not null default '{}';
create or replace trigger invitations_keep_columns before update on app.invitations
    for each row execute function private.keep_columns('status', 'mail', 'invited_by', 'expires_at', 'accepted_by', 'ended_at', 'resent_at');
select private.guard_table('app.invitations');
create index invitations_by_time on app.invitations (tenant_id, created_at);

-- As require, with the tenant's lock held alone, and asked again under it: whoever was removed or lost the role while he waited,
-- or whose key was revoked, is refused.
create function private.require_alone(p_permission text) returns private.principal
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require(p_permission);
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    return private.require(p_permission);
end
$$;

-- As it was, and 50 times a day at most for one tenant: each is a mail to somebody who has not asked for it. args: {id, email, role, name}
create or replace function app.invite_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('members.manage');
    v_email text := lower(p_args ->> 'email');
    v_invitation app.invitations;
    v_fiftieth timestamptz;
begin
    if exists (select from app.members where tenant_id = v_principal.tenant_id and lower(email) = v_email) then
        perform private.fail(409, 'already_member', 'A member has this address already.');
    elsif (select count(*) from app.invitations where tenant_id = v_principal.tenant_id and status = 'open'
        and expires_at > clock_timestamp()) >= 200 then
        perform private.fail(409, 'too_many_invitations', 'There are 200 open invitations; withdraw some first.');
    end if;
    select created_at into v_fiftieth from app.invitations
        where tenant_id = v_principal.tenant_id order by created_at desc offset 49 limit 1;
    if v_fiftieth > clock_timestamp() - interval '1 day' then
        perform private.fail_until(v_fiftieth + interval '1 day', 'too_many_invitations', 'Within a day a tenant invites 50 people at most, withdrawn ones counted.');
    end if;
    select * into v_invitation from app.invitations
        where tenant_id = v_principal.tenant_id and email = v_email and status = 'open' for update;
    if v_invitation.expires_at > clock_timestamp() and private.invitation_stands(v_invitation) then
        perform private.fail(409, 'already_invited', 'There is an open invitation to this address; send it again or withdraw it.');
    elsif v_invitation.id is not null then
        update app.invitations set status = case when expires_at <= clock_timestamp() then 'expired' else 'withdrawn' end
            where tenant_id = v_invitation.tenant_id and id = v_invitation.id;
    end if;
    insert into app.invitations (tenant_id, id, email, role, name, invited_by, expires_at)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, v_email, p_args ->> 'role', coalesce(p_args ->> 'name', ''),
        v_principal.id, clock_timestamp() + interval '7 days')
    returning * into v_invitation;
    return private.invitation_answer(v_invitation);
end
$$;

-- As it was, and once a minute and five times a day at most. args: {id}
create or replace function app.resend_invitation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_invitation app.invitations := private.open_invitation(v_principal, (p_args ->> 'id')::uuid);
    v_resent timestamptz[] := array(select r from unnest(v_invitation.resent_at) r
        where r > clock_timestamp() - interval '1 day' order by r desc);
begin
    if v_resent[1] > clock_timestamp() - interval '1 minute' then
        perform private.fail_until(v_resent[1] + interval '1 minute', 'too_many_invitations', 'An invitation is sent again once a minute at most.');
    elsif cardinality(v_resent) >= 5 then
        perform private.fail_until(v_resent[5] + interval '1 day', 'too_many_invitations', 'An invitation is sent again five times a day at most.');
    end if;
    update app.invitations set invited_by = v_principal.id, mail = 'pending', expires_at = clock_timestamp() + interval '7 days',
        resent_at = clock_timestamp() || v_resent
    where tenant_id = v_invitation.tenant_id and id = v_invitation.id returning * into v_invitation;
    return private.invitation_answer(v_invitation);
end
$$;

-- From here on each function is as it was, but asks under the lock (private.require_alone), before any row. Who takes the lock only by
-- a trigger (private.raise_epoch) would have asked before it.

create or replace function app.publish_constitution_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('constitution.publish');
    v_version integer;
begin
    select max(version) into v_version from app.constitution_versions where tenant_id = v_principal.tenant_id;
    if v_version <> (p_args ->> 'expected_version')::integer then
        perform private.fail(412, 'version_moved', format('The constitution in force is version %s.', v_version));
    end if;
    insert into app.constitution_versions (tenant_id, version, rules, reason, published_by)
    values (v_principal.tenant_id, v_version + 1, p_args -> 'rules', p_args ->> 'reason', v_principal.id);
    return jsonb_build_object('version', v_version + 1, 'rules', p_args -> 'rules', 'reason', p_args ->> 'reason');
end
$$;

create or replace function app.engage_kill_switch_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('kill_switches.engage');
    v_switch app.kill_switches;
begin
    -- A key stops itself, and what is in its own environment; a person stops anything.
    if v_principal.environment is not null and not (case p_args ->> 'scope'
        when 'workflow' then exists (select from app.workflows where tenant_id = v_principal.tenant_id
            and id::text = p_args ->> 'target' and environment = v_principal.environment)
        when 'connection' then exists (select from app.connections where tenant_id = v_principal.tenant_id
            and id::text = p_args ->> 'target' and environment = v_principal.environment)
        when 'service_account' then p_args ->> 'target' = v_principal.id::text
        else false end) then
        perform private.fail(403, 'wrong_environment', 'A key stops itself, and workflows and connections of its own environment.');
    end if;
    insert into app.kill_switches (tenant_id, id, scope, target, reason, engaged_by)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, p_args ->> 'scope', p_args ->> 'target', p_args ->> 'reason', v_principal.id)
    returning * into v_switch;
    return private.kill_switch_document(v_switch);
end
$$;

create or replace function app.release_kill_switch_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('kill_switches.release');
    v_switch app.kill_switches;
begin
    update app.kill_switches set status = 'released', released_by = v_principal.id, released_at = now(), release_reason = p_args ->> 'reason'
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid returning * into v_switch;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such kill switch.');
    end if;
    return private.kill_switch_document(v_switch);
end
$$;

create or replace function app.create_connection_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('connections.manage');
    v_id uuid := (p_args ->> 'id')::uuid;
begin
    insert into app.connections (tenant_id, id, provider, environment, access, parameters, scopes_requested, created_by)
    values (v_principal.tenant_id, v_id, p_args ->> 'provider', p_args ->> 'environment', p_args ->> 'access',
        coalesce(p_args -> 'parameters', '{}'), array(select jsonb_array_elements_text(p_args -> 'scopes')), v_principal.id);
    perform private.begin_flow(v_principal, v_id, p_args, false);
    return jsonb_build_object('id', v_id, 'status', 'pending');
end
$$;

create or replace function app.revoke_connection_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- Waits for claims in flight: whatever holds the credential when this returns, held it before.
    v_principal private.principal := private.require_alone('connections.manage');
    v_connection app.connections;
    v_credential app.credentials;
    v_disconnection app.disconnections;
begin
    select * into v_connection from app.connections
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such connection.');
    end if;
    if v_connection.status <> 'revoked' then
        update app.connections set status = 'revoked', status_reason = left(coalesce(p_args ->> 'reason', 'disconnected'), 1000)
            where tenant_id = v_connection.tenant_id and id = v_connection.id;
        select * into v_credential from app.credentials
            where tenant_id = v_connection.tenant_id and connection_id = v_connection.id for update;
        insert into app.disconnections (tenant_id, connection_id, environment, status, at_provider, next_attempt_at, finished_at)
        select v_connection.tenant_id, v_connection.id, v_connection.environment, case when v_credential.secret_id is null then 'finished' else 'revoking' end,
            case when v_credential.secret_id is null then 'nothing_to_revoke' else 'pending' end,
            case when v_credential.secret_id is not null then now() end, case when v_credential.secret_id is null then now() end;
    end if;
    select * into v_disconnection from app.disconnections where tenant_id = v_connection.tenant_id and connection_id = v_connection.id;
    return jsonb_build_object('id', v_connection.id, 'tenant_id', v_connection.tenant_id, 'provider', v_connection.provider,
        'status', 'revoked', 'credential', null, 'disconnect', private.disconnect_document(v_disconnection));
end
$$;

create or replace function app.create_workflow_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('workflows.write');
    v_id uuid := (p_args ->> 'id')::uuid;
begin
    insert into app.workflows (tenant_id, id, slug, environment, title, created_by)
    values (v_principal.tenant_id, v_id, p_args ->> 'slug', p_args ->> 'environment', p_args ->> 'title', v_principal.id);
    return private.draft_version(v_principal, v_id, p_args -> 'spec');
exception when unique_violation then
    perform private.fail(409, 'slug_taken', 'There is a workflow of this slug already.');
end
$$;

create or replace function app.approve_workflow_version_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('workflows.approve');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'slug');
    v_version integer := (p_args ->> 'version')::integer;
    v_review app.workflow_reviews;
    v_digest text;
begin
    v_workflow := private.workflow_by_slug(v_principal, p_args ->> 'slug');
    v_review := private.review_of(v_principal, p_args);
    select digest into v_digest from app.workflow_versions
        where tenant_id = v_principal.tenant_id and workflow_id = v_workflow.id and version = v_version;
    if v_review.author = v_principal.id then
        perform private.fail(403, 'author_cannot_approve', 'The author of a version cannot approve it.');
    elsif coalesce(p_args ->> 'spec_digest', v_digest) <> v_digest then
        perform private.fail(409, 'digest_mismatch', 'This version''s spec is not the one that was read; read it again.');
    elsif nullif(p_args -> 'hard_gates', 'null') <> private.hard_gates() then
        perform private.fail(409, 'not_ready', 'Control 9: the application and the database disagree on what always waits for a person. Deploy one version of both.');
    elsif (p_args ->> 'compared_with')::integer is distinct from v_workflow.live_version and p_args ? 'compared_with' then
        perform private.fail(409, 'base_moved', 'Another version is live than the one that this was compared with; read what is new again.');
    end if;
    update app.workflow_reviews set status = 'superseded', updated_at = now()
        where tenant_id = v_principal.tenant_id and workflow_id = v_workflow.id and status = 'live';
    update app.workflow_reviews set status = 'live', approved_by = v_principal.id, reason = p_args ->> 'reason', updated_at = now()
        where tenant_id = v_principal.tenant_id and workflow_id = v_workflow.id and version = v_version;
    update app.workflows set live_version = v_version
        where tenant_id = v_principal.tenant_id and id = v_workflow.id;
    return jsonb_build_object('slug', v_workflow.slug, 'version', v_version, 'status', 'live',
        'approved_by', v_principal.id, 'digest', v_digest);
end
$$;

create or replace function app.revoke_api_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('service_accounts.manage');
begin
    update app.api_keys set revoked_at = coalesce(revoked_at, now())
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such key.');
    end if;
    return jsonb_build_object('id', p_args ->> 'id', 'revoked', true);
end
$$;

create or replace function app.narrow_api_key_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('service_accounts.manage');
    v_key app.api_keys;
begin
    update app.api_keys set scopes = array(select jsonb_array_elements_text(p_args -> 'scopes'))
    where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid returning * into v_key;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such key.');
    end if;
    return jsonb_build_object('id', v_key.id, 'service_account_id', v_key.service_account_id, 'environment', v_key.environment,
        'prefix', v_key.prefix, 'scopes', v_key.scopes, 'expires_at', v_key.expires_at, 'revoked_at', v_key.revoked_at);
end
$$;

-- The account that describe_service_account_v1 and disable_service_account_v1 are about.
create or replace function private.account_of(p_principal private.principal, p_id uuid) returns app.service_accounts
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_account app.service_accounts;
begin
    perform private.lock_tenant(p_principal.tenant_id, true);
    perform private.require('service_accounts.manage');  -- whoever lost it while he waited
    select * into v_account from app.service_accounts where tenant_id = p_principal.tenant_id and id = p_id for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such service account.');
    end if;
    return v_account;
end
$$;

revoke all on all functions in schema app, private from public;
