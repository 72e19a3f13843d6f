-- Going live: refused while one of the nine controls fails, for every caller, the owner of the table included.

-- Raises CS409 with what is missing, in words.
create function private.require_readiness(p_tenant uuid, p_workflow uuid, p_version integer) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_missing text;
begin
    select string_agg(format('Control %s: %s', c ->> 'control', m), ' ') into v_missing
        from jsonb_array_elements(private.readiness(p_tenant, p_workflow, p_version)) c, jsonb_array_elements_text(c -> 'missing') m;
    if v_missing is not null then
        perform private.fail(409, 'not_ready', left('The version is not ready to go live. ' || v_missing, 4000));
    end if;
end
$$;

-- As it was, and a version goes live only when all nine controls are verified at that moment.
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
        -- What it looks at (connections, kill switches, people) cannot change before this commits.
        perform private.lock_tenant(new.tenant_id, true);
        perform private.require_named_people(new.tenant_id, v_version.spec);
        perform private.require_readiness(new.tenant_id, new.workflow_id, new.version);
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

-- The nine controls of a version: the one named, else the live one, else the newest. args: {slug, version?}
-- Answers {slug, version, status, environment, ready, controls, hard_gates}.
create function app.readiness_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.read');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'slug');
    v_review app.workflow_reviews;
    v_controls jsonb;
begin
    select * into v_review from app.workflow_reviews where tenant_id = v_principal.tenant_id and workflow_id = v_workflow.id
        and version = coalesce((p_args ->> 'version')::integer, v_workflow.live_version, version) order by version desc limit 1;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such version.');
    end if;
    v_controls := private.readiness(v_principal.tenant_id, v_workflow.id, v_review.version);
    return jsonb_build_object('slug', v_workflow.slug, 'version', v_review.version, 'status', v_review.status,
        'environment', v_workflow.environment, 'checked_at', clock_timestamp(), 'controls', v_controls,
        'hard_gates', private.hard_gates());
end
$$;

-- The effects that this database knows and holds for hard gates.
create function private.hard_gates() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(e order by e), '[]') from (
        select (regexp_matches(pg_get_constraintdef(oid), '''([a-z_]+)''', 'g'))[1] as e from pg_constraint
        where conrelid = 'private.tool_catalog'::regclass and conname = 'tool_catalog_effect_check') known
    where private.is_hard_gate(e)
$$;

-- Puts a version live: a person other than its author, by an application that knows the same hard gates. With
-- spec_digest it is the spec that this person has read, or nothing happens.
-- args: {slug, version, reason, spec_digest?, hard_gates?}
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
    elsif nullif(p_args -> 'hard_gates', 'null') <> private.hard_gates() then
        perform private.fail(409, 'not_ready', 'Control 9: the application and the database disagree on what always waits for a person. Deploy one version of both.');
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
grant execute on function app.readiness_v1 to authenticated;
