-- A mail that was answered faster than it was noted: what became of it is kept while the invitation is open, and is no
-- reason to refuse afterwards. args: {id, mail: sent | failed}
create or replace function app.note_invitation_mail_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('members.manage');
    v_invitation app.invitations;
begin
    select * into v_invitation from app.invitations
        where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such invitation.');
    elsif v_invitation.status = 'open' then
        update app.invitations set mail = p_args ->> 'mail'
        where tenant_id = v_invitation.tenant_id and id = v_invitation.id returning * into v_invitation;
    end if;
    return private.invitation_answer(v_invitation);
end
$$;

-- The tenants that the caller belongs to. A key belongs to one, and only while it is active: it was told "none" before,
-- and not that it is refused.
create or replace function app.list_tenants_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_claims jsonb := private.claims();
    v_principal private.principal;
begin
    if v_claims ->> 'kind' is distinct from 'user' then
        v_principal := private.require('tenant.read');
        return (select jsonb_build_array(jsonb_build_object('id', tenant_id, 'name', name, 'role', null))
            from app.tenants where tenant_id = v_principal.tenant_id);
    end if;
    return (select coalesce(jsonb_agg(jsonb_build_object('id', t.tenant_id, 'name', t.name, 'role', m.role) order by t.tenant_id), '[]')
        from app.members m join app.tenants t using (tenant_id) where m.user_id = (v_claims ->> 'sub')::uuid);
end
$$;
