-- Invitations: the only way into a tenant that exists. A person joins himself, with an address that Supabase Auth has
-- confirmed to be his, while whoever invited him may still do so. The mail carries no secret of ours: an id is no key.

create table app.invitations (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    email text not null check (email = lower(email) and length(email) between 3 and 320),
    role text not null check (role in ('owner', 'admin', 'approver', 'operator', 'developer', 'auditor')),
    name text not null default '' check (length(name) <= 200),
    status text not null default 'open' check (status in ('open', 'accepted', 'withdrawn', 'expired')),
    mail text not null default 'pending' check (mail in ('pending', 'sent', 'failed')),
    invited_by uuid not null,
    expires_at timestamptz not null,
    accepted_by uuid,
    ended_at timestamptz,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (id),
    constraint accepted_by_somebody check ((status = 'accepted') = (accepted_by is not null)),
    constraint ended_when_not_open check ((status = 'open') = (ended_at is null))
);
create unique index invitations_one_open on app.invitations (tenant_id, email) where status = 'open';
create index invitations_by_email on app.invitations (email) where status = 'open';

-- Whether whoever invited may still invite to this role.
create function private.invitation_stands(p_invitation app.invitations) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.members m
        join private.permissions p on p.permission = 'members.manage' and m.role = any (p.roles)
        where m.tenant_id = p_invitation.tenant_id and m.user_id = p_invitation.invited_by
            and (p_invitation.role <> 'owner' or m.role = 'owner'))
$$;

-- Somebody who may invites in his own name; somebody with the address accepts, in time, in his own name.
create function private.guard_invitation() returns trigger
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
        elsif new.status = 'open' and new.role = 'owner' and v_principal.role <> 'owner' then
            perform private.fail(403, 'owner_required', 'Only an owner can invite an owner.');
        end if;
        new.expires_at := least(new.expires_at, clock_timestamp() + interval '7 days');
    end if;
    new.ended_at := case when new.status <> 'open' then now() end;
    return new;
end
$$;
create trigger invitations_guard before insert or update or delete on app.invitations
    for each row execute function private.guard_invitation();
create trigger invitations_keep_columns before update on app.invitations
    for each row execute function private.keep_columns('status', 'mail', 'invited_by', 'expires_at', 'accepted_by', 'ended_at');
select private.audit_table('app.invitations', 'invitation', 'created', 'email role invited_by accepted_by expires_at mail');

-- A membership begins with founding the tenant, or with an invitation that the same transaction accepts, whoever writes it.
create function private.guard_joining() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from app.members where tenant_id = new.tenant_id) and not exists (
        select from app.invitations where tenant_id = new.tenant_id and status = 'accepted' and ended_at = now()
            and accepted_by = new.user_id and role = new.role and email = lower(new.email)) then
        perform private.fail(409, 'not_invited', 'People join by accepting an invitation.');
    end if;
    return new;
end
$$;
create trigger members_guard_joining before insert on app.members
    for each row execute function private.guard_joining();
select private.guard_table('app.members');

alter table app.invitations enable row level security;
alter table app.invitations force row level security;
create policy "members read their tenant's invitations" on app.invitations for select to authenticated
    using (tenant_id = (select private.current_tenant()));
grant select on app.invitations to authenticated;

-- What the API shows of an invitation; one that cannot be accepted any more says why.
create function private.invitation_answer(p_invitation app.invitations) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_invitation.id, 'email', p_invitation.email, 'role', p_invitation.role,
        'name', p_invitation.name, 'invited_by', p_invitation.invited_by, 'mail', p_invitation.mail,
        'status', case when p_invitation.status <> 'open' then p_invitation.status
            when p_invitation.expires_at <= clock_timestamp() then 'expired'
            when not private.invitation_stands(p_invitation) then 'void' else 'open' end,
        'created_at', p_invitation.created_at, 'expires_at', p_invitation.expires_at, 'ended_at', p_invitation.ended_at)
$$;

-- Invites a person by address. args: {id, email, role, name}
create function app.invite_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_email text := lower(p_args ->> 'email');
    v_invitation app.invitations;
begin
    perform private.lock_tenant(v_principal.tenant_id, true);
    if exists (select from app.members where tenant_id = v_principal.tenant_id and lower(email) = v_email) then
        perform private.fail(409, 'already_member', 'A member has this address already.');
    elsif (select count(*) from app.invitations where tenant_id = v_principal.tenant_id and status = 'open'
        and expires_at > clock_timestamp()) >= 200 then
        perform private.fail(409, 'too_many_invitations', 'There are 200 open invitations; withdraw some first.');
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

-- The open invitation of the caller's tenant, locked; CS404 when there is none of this id, CS409 when it has ended.
create function private.open_invitation(p_principal private.principal, p_id uuid) returns app.invitations
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_invitation app.invitations;
begin
    select * into v_invitation from app.invitations where tenant_id = p_principal.tenant_id and id = p_id for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such invitation.');
    elsif v_invitation.status <> 'open' then
        perform private.fail(409, 'invitation_ended', format('This invitation is %s.', v_invitation.status));
    end if;
    return v_invitation;
end
$$;

-- Gives an invitation its whole time again, in the name of whoever sends it again. args: {id}
create function app.resend_invitation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_invitation app.invitations := private.open_invitation(v_principal, (p_args ->> 'id')::uuid);
begin
    update app.invitations set invited_by = v_principal.id, mail = 'pending', expires_at = clock_timestamp() + interval '7 days'
    where tenant_id = v_invitation.tenant_id and id = v_invitation.id returning * into v_invitation;
    return private.invitation_answer(v_invitation);
end
$$;

-- Keeps what became of the mail. args: {id, mail: sent | failed}
create function app.note_invitation_mail_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_invitation app.invitations := private.open_invitation(v_principal, (p_args ->> 'id')::uuid);
begin
    update app.invitations set mail = p_args ->> 'mail'
    where tenant_id = v_invitation.tenant_id and id = v_invitation.id returning * into v_invitation;
    return private.invitation_answer(v_invitation);
end
$$;

-- Takes an invitation back; to take it back again changes nothing. args: {id}
create function app.withdraw_invitation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_invitation app.invitations;
begin
    select * into v_invitation from app.invitations
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for update;
    if v_invitation.status is distinct from 'withdrawn' then
        v_invitation := private.open_invitation(v_principal, (p_args ->> 'id')::uuid);
        update app.invitations set status = 'withdrawn'
        where tenant_id = v_invitation.tenant_id and id = v_invitation.id returning * into v_invitation;
    end if;
    return private.invitation_answer(v_invitation);
end
$$;

-- The tenant's invitations, the newest first.
create function app.list_invitations_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.read');
begin
    return (select coalesce(jsonb_agg(private.invitation_answer(i) order by i.created_at desc, i.id desc), '[]')
        from (select * from app.invitations where tenant_id = v_principal.tenant_id
            order by created_at desc, id desc limit 500) i);
end
$$;

-- What the caller could accept, in any tenant. The claims say which address Supabase Auth has confirmed to be his.
create function app.list_my_invitations_v1(p_args jsonb) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('id', i.id, 'tenant', jsonb_build_object('id', t.tenant_id, 'name', t.name),
        'role', i.role, 'invited_by', coalesce(nullif(m.name, ''), m.email), 'expires_at', i.expires_at) order by i.created_at, i.id), '[]')
    from app.invitations i join app.tenants t using (tenant_id)
    join app.members m on m.tenant_id = i.tenant_id and m.user_id = i.invited_by
    where private.claims() ->> 'kind' = 'user' and i.email = lower(private.claims() ->> 'verified_email')
        and i.status = 'open' and i.expires_at > clock_timestamp() and private.invitation_stands(i)
$$;

-- Joins the tenant that invited the caller. Who accepted already is told so again. args: {id, name}
create function app.accept_invitation_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_claims jsonb := private.claims();
    v_user uuid := (v_claims ->> 'sub')::uuid;
    v_invitation app.invitations;
begin
    if v_claims ->> 'kind' is distinct from 'user' then
        perform private.fail(403, 'people_only', 'Only a person can accept an invitation.');
    end if;
    select * into v_invitation from app.invitations
        where id = (p_args ->> 'id')::uuid and email = lower(v_claims ->> 'verified_email');
    if not found then
        perform private.fail(404, 'not_found', 'There is no such invitation to your address.');
    end if;
    perform private.lock_tenant(v_invitation.tenant_id, true);
    select * into v_invitation from app.invitations where tenant_id = v_invitation.tenant_id and id = v_invitation.id for update;
    if v_invitation.accepted_by is distinct from v_user or not exists (
        select from app.members where tenant_id = v_invitation.tenant_id and user_id = v_user) then
        if v_invitation.status = 'open' and exists (
            select from app.members where tenant_id = v_invitation.tenant_id and user_id = v_user) then
            perform private.fail(409, 'already_member', 'You are a member already.');
        end if;
        update app.invitations set status = 'accepted', accepted_by = v_user
            where tenant_id = v_invitation.tenant_id and id = v_invitation.id;
        insert into app.members (tenant_id, user_id, role, email, name)
        values (v_invitation.tenant_id, v_user, v_invitation.role, v_invitation.email,
            coalesce(nullif(p_args ->> 'name', ''), v_invitation.name));
    end if;
    return (select jsonb_build_object('tenant', jsonb_build_object('id', t.tenant_id, 'name', t.name),
            'user_id', m.user_id, 'role', m.role, 'email', m.email, 'name', m.name)
        from app.tenants t join app.members m using (tenant_id) where t.tenant_id = v_invitation.tenant_id and m.user_id = v_user);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.invite_v1, app.resend_invitation_v1, app.note_invitation_mail_v1, app.withdraw_invitation_v1,
    app.list_invitations_v1, app.list_my_invitations_v1, app.accept_invitation_v1 to authenticated;
