-- Workflows: the unit of permission. A version's access spec is immutable from the moment it is written;
-- its way from draft to live is kept beside it. Kill switches stop what any of it may do.

create table app.workflows (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    slug text not null check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    environment text not null check (environment in ('sandbox', 'production')),
    title text not null check (length(title) between 1 and 200),
    live_version integer,
    created_by uuid not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, slug)
);

create table app.workflow_versions (
    tenant_id uuid not null references app.tenants,
    workflow_id uuid not null,
    version integer not null check (version > 0),
    spec jsonb not null,
    author uuid not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, workflow_id, version),
    foreign key (tenant_id, workflow_id) references app.workflows (tenant_id, id)
);
alter table app.workflows add foreign key (tenant_id, id, live_version)
    references app.workflow_versions (tenant_id, workflow_id, version);
create index workflows_by_live_version on app.workflows (tenant_id, id, live_version);

-- Where each version stands. Only somebody other than its author can have approved it.
create table app.workflow_reviews (
    tenant_id uuid not null references app.tenants,
    workflow_id uuid not null,
    version integer not null,
    environment text not null,
    status text not null default 'draft' check (status in ('draft', 'in_review', 'live', 'superseded')),
    author uuid not null,
    approved_by uuid check (approved_by <> author),
    reason text,
    updated_at timestamptz not null default now(),
    primary key (tenant_id, workflow_id, version),
    foreign key (tenant_id, workflow_id, version) references app.workflow_versions (tenant_id, workflow_id, version),
    check (status in ('draft', 'in_review') or approved_by is not null)
);
create unique index workflow_reviews_one_live on app.workflow_reviews (tenant_id, workflow_id) where status = 'live';

create table app.kill_switches (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    scope text not null check (scope in ('tenant', 'workflow', 'connection', 'tool', 'service_account')),
    target text not null,   -- id of the workflow, connection or service account; name of the tool; the tenant's id
    status text not null default 'engaged' check (status in ('engaged', 'released')),
    reason text not null check (length(reason) between 1 and 2000),
    engaged_by uuid,
    engaged_at timestamptz not null default now(),
    released_by uuid,
    released_at timestamptz,
    release_reason text,
    primary key (tenant_id, id)
);
create index kill_switches_engaged on app.kill_switches (tenant_id) where status = 'engaged';

create trigger workflows_keep_columns before update on app.workflows
    for each row execute function private.keep_columns('title', 'live_version');
create trigger workflows_raise_epoch after insert or update or delete on app.workflows
    for each row execute function private.raise_epoch();
create trigger kill_switches_raise_epoch after insert or update or delete on app.kill_switches
    for each row execute function private.raise_epoch();
create trigger kill_switches_keep_columns before update on app.kill_switches
    for each row execute function private.keep_columns('status', 'released_by', 'released_at', 'release_reason');

-- A kill switch names something of its tenant. It goes from engaged to released, once, by a person with a second
-- factor; it is never deleted. Holds for every caller, the table's owner included (invariants 5 and 6).
create function private.guard_kill_switch() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
begin
    if tg_op = 'INSERT' then
        -- Ids are compared as text: one way to write them, or a switch would cover nothing.
        new.target := case when new.scope = 'tool' then new.target else new.target::uuid::text end;
        if not (case new.scope
            when 'tenant' then new.target = new.tenant_id::text
            when 'workflow' then exists (select from app.workflows where tenant_id = new.tenant_id and id = new.target::uuid)
            when 'connection' then exists (select from app.connections where tenant_id = new.tenant_id and id = new.target::uuid)
            when 'tool' then exists (select from private.tool_catalog where name = new.target)
            when 'service_account' then exists (select from app.service_accounts where tenant_id = new.tenant_id and id = new.target::uuid)
        end) then
            perform private.fail(422, 'unknown_target', format('There is no %s of this name or id.', new.scope));
        end if;
        return new;
    elsif tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A kill switch is released, never deleted.');
    end if;
    if old.status = 'released' or new.status <> 'released' then
        perform private.fail(409, 'invalid_transition', 'This kill switch is released already.');
    end if;
    v_principal := private.require('kill_switches.release');
    if v_principal.kind <> 'user' or v_principal.aal is distinct from 'aal2' or v_principal.tenant_id <> new.tenant_id
        or v_principal.id is distinct from new.released_by then
        perform private.fail(403, 'people_only', 'Only a person of the tenant releases a kill switch, with a second factor.');
    end if;
    return new;
end
$$;
create trigger kill_switches_guard before insert or update or delete on app.kill_switches
    for each row execute function private.guard_kill_switch();

-- Every version is written by the person who calls, and begins as a draft.
create function private.guard_version() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.write');
begin
    if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id or v_principal.id <> new.author then
        perform private.fail(403, 'people_only', 'A version is written in its author''s own name.');
    end if;
    return new;
end
$$;
create trigger workflow_versions_guard before insert on app.workflow_versions
    for each row execute function private.guard_version();

create function private.open_review() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into app.workflow_reviews (tenant_id, workflow_id, version, environment, author)
    select new.tenant_id, new.workflow_id, new.version, environment, new.author
        from app.workflows where tenant_id = new.tenant_id and id = new.workflow_id;
    return null;
end
$$;
create trigger workflow_versions_open_review after insert on app.workflow_versions
    for each row execute function private.open_review();
select private.append_only('app.workflow_versions');

-- A version goes live by the approval of a person who did not write it, whoever changes the row (invariant 6).
create function private.guard_review() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A review is never deleted.');
    elsif tg_op = 'INSERT' then
        if pg_trigger_depth() < 2 or new.status <> 'draft' or new.approved_by is not null then
            perform private.fail(409, 'invalid_transition', 'A review begins with its version, as a draft.');
        end if;
        return new;
    end if;
    if (old.status, new.status) not in (('draft', 'in_review'), ('in_review', 'draft'), ('in_review', 'live'), ('live', 'superseded')) then
        perform private.fail(409, 'invalid_transition', format('A workflow version cannot go from %s to %s.', old.status, new.status));
    elsif new.status = 'live' then
        v_principal := private.require('workflows.approve');
        if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id or v_principal.id is distinct from new.approved_by then
            perform private.fail(403, 'people_only', 'Only a person of the tenant approves a go-live.');
        elsif v_principal.id = new.author then
            perform private.fail(403, 'author_cannot_approve', 'The author of a version cannot approve it.');
        end if;
    elsif new.approved_by is distinct from old.approved_by then
        perform private.fail(409, 'invalid_transition', 'Who approved a version is written when it goes live.');
    end if;
    return new;
end
$$;
create trigger workflow_reviews_guard before insert or update or delete on app.workflow_reviews
    for each row execute function private.guard_review();
create trigger workflow_reviews_keep_columns before update on app.workflow_reviews
    for each row execute function private.keep_columns('status', 'approved_by', 'reason', 'updated_at');

-- A workflow runs the version whose review is live, and no other.
create function private.guard_live_version() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A workflow is never deleted.');
    elsif new.live_version is distinct from (case when tg_op = 'UPDATE' then old.live_version end) and not exists (
        select from app.workflow_reviews where tenant_id = new.tenant_id and workflow_id = new.id
            and version = new.live_version and status = 'live') then
        perform private.fail(409, 'version_not_approved', 'A version goes live by its approval.');
    end if;
    return new;
end
$$;
create trigger workflows_guard_live_version before insert or update or delete on app.workflows
    for each row execute function private.guard_live_version();

select private.audit_table('app.workflows', 'workflow', 'created', 'slug environment title live_version');
select private.audit_table('app.workflow_reviews', 'workflow_version', 'drafted', 'workflow_id version author approved_by', 'reason');
select private.audit_table('app.kill_switches', 'kill_switch', 'engaged', 'scope target', 'reason release_reason');

-- The kill switch that covers this work, if any.
create function private.kill_switch_over(p_tenant uuid, p_workflow uuid, p_connection uuid, p_tool text, p_service_account uuid)
returns app.kill_switches language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select k from app.kill_switches k
    where k.tenant_id = p_tenant and k.status = 'engaged' and (
        k.scope = 'tenant'
        or (k.scope = 'workflow' and k.target = p_workflow::text)
        or (k.scope = 'connection' and k.target = p_connection::text)
        or (k.scope = 'tool' and k.target = p_tool)
        or (k.scope = 'service_account' and k.target = p_service_account::text))
    order by k.engaged_at limit 1
$$;

alter table app.workflows enable row level security;
alter table app.workflows force row level security;
alter table app.workflow_versions enable row level security;
alter table app.workflow_versions force row level security;
alter table app.workflow_reviews enable row level security;
alter table app.workflow_reviews force row level security;
alter table app.kill_switches enable row level security;
alter table app.kill_switches force row level security;
create policy "members read their tenant's workflows of their environment" on app.workflows for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
create policy "members read the versions of workflows they see" on app.workflow_versions for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and exists (select from app.workflows w where w.tenant_id = workflow_versions.tenant_id and w.id = workflow_versions.workflow_id));
create policy "members read the reviews of their environment" on app.workflow_reviews for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
create policy "members read their tenant's kill switches" on app.kill_switches for select to authenticated
    using (tenant_id = (select private.current_tenant()));
grant select on app.workflows, app.workflow_versions, app.workflow_reviews, app.kill_switches to authenticated;

-- Creates a workflow with its first version as a draft. args: {id, slug, environment, title, spec}
create function app.create_workflow_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.write');
    v_id uuid := (p_args ->> 'id')::uuid;
begin
    insert into app.workflows (tenant_id, id, slug, environment, title, created_by)
    values (v_principal.tenant_id, v_id, p_args ->> 'slug', p_args ->> 'environment', p_args ->> 'title', v_principal.id);
    return private.draft_version(v_principal, v_id, p_args -> 'spec');
exception when unique_violation then
    perform private.fail(409, 'slug_taken', 'There is a workflow of this slug already.');
end
$$;

create function private.draft_version(p_principal private.principal, p_workflow uuid, p_spec jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_workflow app.workflows;
    v_version integer;
    v_binding record;
begin
    select * into v_workflow from app.workflows where tenant_id = p_principal.tenant_id and id = p_workflow for update;
    -- A workflow uses connections of its own tenant and environment, each for the access it was granted for.
    for v_binding in
        select c.key as provider, a.key as access, a.value as connection_id
        from jsonb_each(p_spec -> 'connections') c, jsonb_each_text(c.value) a where a.value is not null
    loop
        if not exists (select from app.connections where tenant_id = p_principal.tenant_id and id = v_binding.connection_id::uuid
            and provider = v_binding.provider and access = v_binding.access and environment = v_workflow.environment) then
            perform private.fail(422, 'connection_mismatch', format(
                'connections.%s.%s names no %s connection of this environment to that provider.',
                v_binding.provider, v_binding.access, v_binding.access));
        end if;
    end loop;
    select coalesce(max(version), 0) + 1 into v_version
        from app.workflow_versions where tenant_id = p_principal.tenant_id and workflow_id = p_workflow;
    insert into app.workflow_versions (tenant_id, workflow_id, version, spec, author)
    values (p_principal.tenant_id, p_workflow, v_version, p_spec, p_principal.id);
    return jsonb_build_object('id', p_workflow, 'slug', v_workflow.slug, 'environment', v_workflow.environment,
        'version', v_version, 'status', 'draft', 'spec', p_spec);
end
$$;

create function private.workflow_by_slug(p_principal private.principal, p_slug text) returns app.workflows
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_workflow app.workflows;
begin
    select * into v_workflow from app.workflows where tenant_id = p_principal.tenant_id and slug = p_slug;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such workflow.');
    end if;
    perform private.require_environment(p_principal, v_workflow.environment);
    return v_workflow;
end
$$;

-- args: {slug, spec}
create function app.create_workflow_version_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.write');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'slug');
begin
    return private.draft_version(v_principal, v_workflow.id, p_args -> 'spec');
end
$$;

-- Hands a draft to a reviewer. args: {slug, version}
create function app.submit_workflow_version_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.write');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'slug');
begin
    update app.workflow_reviews set status = 'in_review', updated_at = now()
        where tenant_id = v_principal.tenant_id and workflow_id = v_workflow.id and version = (p_args ->> 'version')::integer;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such version.');
    end if;
    return jsonb_build_object('slug', v_workflow.slug, 'version', (p_args ->> 'version')::integer, 'status', 'in_review');
end
$$;

-- Puts a version live: a person other than its author. args: {slug, version, reason}
create function app.approve_workflow_version_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('workflows.approve');
    v_workflow app.workflows := private.workflow_by_slug(v_principal, p_args ->> 'slug');
    v_version integer := (p_args ->> 'version')::integer;
    v_author uuid;
begin
    -- Before any row, as decisions and claims do.
    perform private.lock_tenant(v_principal.tenant_id, true);
    select author into v_author from app.workflow_reviews
        where tenant_id = v_principal.tenant_id and workflow_id = v_workflow.id and version = v_version for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such version.');
    elsif v_author = v_principal.id then
        perform private.fail(403, 'author_cannot_approve', 'The author of a version cannot approve it.');
    end if;
    update app.workflow_reviews set status = 'superseded', updated_at = now()
        where tenant_id = v_principal.tenant_id and workflow_id = v_workflow.id and status = 'live';
    update app.workflow_reviews set status = 'live', approved_by = v_principal.id, reason = p_args ->> 'reason', updated_at = now()
        where tenant_id = v_principal.tenant_id and workflow_id = v_workflow.id and version = v_version;
    update app.workflows set live_version = v_version
        where tenant_id = v_principal.tenant_id and id = v_workflow.id;
    return jsonb_build_object('slug', v_workflow.slug, 'version', v_version, 'status', 'live', 'approved_by', v_principal.id);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.create_workflow_v1, app.create_workflow_version_v1, app.submit_workflow_version_v1,
    app.approve_workflow_version_v1 to authenticated;
