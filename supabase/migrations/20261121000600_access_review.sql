-- The review of an access spec: what is approved is named by its digest, owners are people of the tenant, and a
-- version in review can be taken back or sent back with a reason.

-- Names a spec. The text of a jsonb value is the same wherever it is written: keys sorted, spacing fixed.
create function private.spec_digest(p_spec jsonb) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select 'sha256:' || encode(sha256(convert_to(p_spec::text, 'UTF8')), 'hex')
$$;
alter table app.workflow_versions add column digest text not null generated always as (private.spec_digest(spec)) stored;

-- What was approved, beside who approved it.
alter table app.workflow_reviews add column approved_digest text;
drop trigger workflow_reviews_keep_columns on app.workflow_reviews;
create trigger workflow_reviews_keep_columns before update on app.workflow_reviews
    for each row execute function private.keep_columns('status', 'approved_by', 'approved_digest', 'reason', 'updated_at');
drop trigger zz_audit_change on app.workflow_reviews;
select private.audit_table('app.workflow_reviews', 'workflow_version', 'drafted',
    'workflow_id version author approved_by approved_digest', 'reason');

-- An owner and an escalation contact are members, by the address that they belong to the tenant with.
create function private.is_member_address(p_tenant uuid, p_address text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.members where tenant_id = p_tenant and lower(email) = lower(p_address))
$$;

create function private.require_named_people(p_tenant uuid, p_spec jsonb) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not private.is_member_address(p_tenant, p_spec ->> 'owner') then
        perform private.fail(422, 'owner_not_a_member', format(
            'The owner %s is no member of this tenant; name a member by e-mail address.', left(p_spec ->> 'owner', 320)));
    elsif not private.is_member_address(p_tenant, p_spec ->> 'escalation_contact') then
        perform private.fail(422, 'escalation_contact_not_a_member', format(
            'The escalation contact %s is no member of this tenant; name a member by e-mail address.',
            left(p_spec ->> 'escalation_contact', 320)));
    end if;
end
$$;

-- A version moves by a person of the tenant, whoever changes the row: submitted and taken back by who may write it,
-- sent back and approved by who may approve it, and never approved by its author (invariant 6).
create or replace function private.guard_review() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_version app.workflow_versions;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A review is never deleted.');
    elsif tg_op = 'INSERT' then
        if pg_trigger_depth() < 2 or new.status <> 'draft' or new.approved_by is not null or new.approved_digest is not null then
            perform private.fail(409, 'invalid_transition', 'A review begins with its version, as a draft.');
        end if;
        return new;
    end if;
    if (old.status, new.status) not in (('draft', 'in_review'), ('in_review', 'draft'), ('in_review', 'live'), ('live', 'superseded')) then
        perform private.fail(409, 'invalid_transition', format('A workflow version cannot go from %s to %s.', old.status, new.status));
    elsif new.status <> 'live' and (new.approved_by, new.approved_digest) is distinct from (old.approved_by, old.approved_digest) then
        perform private.fail(409, 'invalid_transition', 'Who approved a version is written when it goes live.');
    end if;
    select * into v_version from app.workflow_versions
        where tenant_id = new.tenant_id and workflow_id = new.workflow_id and version = new.version;
    v_principal := private.current_principal();
    if v_principal.kind is distinct from 'user' or v_principal.tenant_id <> new.tenant_id then
        perform private.fail(403, 'people_only', 'Only a person of the tenant moves a version through its review.');
    end if;
    if new.status = 'live' then
        v_principal := private.require('workflows.approve');
        if v_principal.id is distinct from new.approved_by then
            perform private.fail(403, 'people_only', 'A person approves a go-live in their own name.');
        elsif v_principal.id = new.author then
            perform private.fail(403, 'author_cannot_approve', 'The author of a version cannot approve it.');
        end if;
        perform private.require_named_people(new.tenant_id, v_version.spec);
        new.approved_digest := v_version.digest;
    elsif new.status = 'in_review' then
        perform private.require('workflows.write');
        perform private.require_named_people(new.tenant_id, v_version.spec);
    elsif new.status = 'draft' and not v_principal.permissions && array['workflows.write', 'workflows.approve'] then
        perform private.fail(403, 'permission_denied', 'This needs the permission workflows.write or workflows.approve.');
    elsif new.status = 'superseded' then
        perform private.require('workflows.approve');
    end if;
    return new;
end
$$;

-- The version that a request names, locked. args: {slug, version}
create function private.review_of(p_principal private.principal, p_args jsonb) returns app.workflow_reviews
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_workflow app.workflows := private.workflow_by_slug(p_principal, p_args ->> 'slug');
    v_review app.workflow_reviews;
begin
    select * into v_review from app.workflow_reviews where tenant_id = p_principal.tenant_id
        and workflow_id = v_workflow.id and version = (p_args ->> 'version')::integer for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such version.');
    end if;
    return v_review;
end
$$;

create function private.move_review(p_review app.workflow_reviews, p_status text, p_reason text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update app.workflow_reviews set status = p_status, reason = p_reason, updated_at = now()
        where tenant_id = p_review.tenant_id and workflow_id = p_review.workflow_id and version = p_review.version;
    return (select jsonb_strip_nulls(jsonb_build_object('slug', w.slug, 'version', p_review.version, 'status', p_status,
            'reason', p_reason, 'digest', v.digest))
        from app.workflows w join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id
        where w.tenant_id = p_review.tenant_id and w.id = p_review.workflow_id and v.version = p_review.version);
end
$$;

-- Hands a draft to a reviewer. args: {slug, version}
create or replace function app.submit_workflow_version_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.write');
begin
    return private.move_review(private.review_of(v_principal, p_args), 'in_review', null);
end
$$;

-- Takes a version back out of review, to write a better one. args: {slug, version}
create function app.withdraw_workflow_version_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.write');
begin
    return private.move_review(private.review_of(v_principal, p_args), 'draft', null);
end
$$;

-- Sends a version back to its author, with the reason. args: {slug, version, reason}
create function app.reject_workflow_version_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.approve');
    v_review app.workflow_reviews := private.review_of(v_principal, p_args);
begin
    if v_review.author = v_principal.id then
        perform private.fail(403, 'author_cannot_reject', 'The author of a version withdraws it; somebody else rejects it.');
    end if;
    return private.move_review(v_review, 'draft', p_args ->> 'reason');
end
$$;

-- Puts a version live: a person other than its author. With spec_digest it is the spec that this person has read, or
-- nothing happens. args: {slug, version, reason, spec_digest?}
create or replace function app.approve_workflow_version_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.approve');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'slug');
    v_version integer := (p_args ->> 'version')::integer;
    v_review app.workflow_reviews;
    v_digest text;
begin
    -- Before any row, as decisions and claims do.
    perform private.lock_tenant(v_principal.tenant_id, true);
    v_review := private.review_of(v_principal, p_args);
    select digest into v_digest from app.workflow_versions
        where tenant_id = v_principal.tenant_id and workflow_id = v_workflow.id and version = v_version;
    if v_review.author = v_principal.id then
        perform private.fail(403, 'author_cannot_approve', 'The author of a version cannot approve it.');
    elsif coalesce(p_args ->> 'spec_digest', v_digest) <> v_digest then
        perform private.fail(409, 'digest_mismatch', 'This version''s spec is not the one that was read; read it again.');
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

revoke all on all functions in schema app, private from public;
grant execute on function app.withdraw_workflow_version_v1, app.reject_workflow_version_v1 to authenticated;
