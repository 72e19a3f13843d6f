-- The life of a constitution: a version is drafted, submitted, and published from exactly what was read. One that lets more
-- happen without a person than the one before needs a second person, whoever writes the rows.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('constitution.draft', '{owner,admin,approver}', false, false, false, 'draft changes of the constitution and submit them');
alter table private.permissions add constraint constitutions_are_drafted_by_people
    check (permission <> 'constitution.draft' or not (service or system));

-- A list of JSON as the set that it is.
create function private.as_set(p_list jsonb, p_default jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(distinct e order by e), '[]') from jsonb_array_elements(coalesce(p_list, p_default)) e
$$;

-- What a rule means, for rules to be compared: without its names and words, with its defaults, lists as the sets that they are.
-- Approvals are compared by private.approvals_cover. Whatever else a rule says is part of what it means.
create function private.rule_meaning(p_rule jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select (p_rule - '{id,title,principle,origin,approvals}'::text[]) || jsonb_build_object(
        'applies_to', private.as_set(p_rule -> 'applies_to', '["*"]'),
        'lifts', private.as_set(p_rule -> 'lifts', '[]'),
        'expires_at', coalesce(p_rule -> 'expires_at', 'null'),
        'bounds', coalesce(p_rule -> 'bounds', '{}') || jsonb_build_object(
            'counterparties', private.as_set(p_rule #> '{bounds,counterparties}', '[]'),
            'amounts', coalesce(p_rule #> '{bounds,amounts}', '{}'),
            'tiers', private.as_set(p_rule #> '{bounds,tiers}', '[]'),
            'workflows', private.as_set(p_rule #> '{bounds,workflows}', '[]')))
$$;

-- Whether these approvals ask for at least as much as those: as many people, of no other roles, at no lower level. Null asks for
-- what the workflow asks for, which every rule's approvals come on top of.
create function private.approvals_cover(p_new jsonb, p_old jsonb) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select p_old is null or p_new is not null
        and coalesce((p_new ->> 'count')::integer, 1) >= coalesce((p_old ->> 'count')::integer, 1)
        and coalesce(p_new -> 'roles', '["owner", "approver"]') <> '[]'
        and coalesce(p_old -> 'roles', '["owner", "approver"]') @> coalesce(p_new -> 'roles', '["owner", "approver"]')
        and (coalesce(p_old ->> 'aal', 'aal1') = 'aal1' or coalesce(p_new ->> 'aal', 'aal1') = 'aal2')
$$;

-- Whether rules may let more happen without a person than others. False only with a proof: every rule that denied or asked for a
-- person is still there and asks for no less, and every rule that allows was there already. Order and names say nothing; a rule
-- that has expired counts like any other. api/constitution/diff.py explains it with the same answer.
create function private.constitution_widens(p_old jsonb, p_new jsonb) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    with was as materialized (
        select private.rule_meaning(r) as meaning, coalesce(r ->> 'effect', '') as effect, nullif(r -> 'approvals', 'null') as approvals
        from jsonb_array_elements(p_old) r),
    will_be as materialized (
        select private.rule_meaning(r) as meaning, coalesce(r ->> 'effect', '') as effect, nullif(r -> 'approvals', 'null') as approvals
        from jsonb_array_elements(p_new) r)
    select exists (select from was where effect <> 'allow' and not exists (select from will_be where will_be.meaning = was.meaning
            and (was.effect <> 'require_approval' or private.approvals_cover(will_be.approvals, was.approvals))))
        or exists (select from will_be where effect not in ('deny', 'require_approval')
            and not exists (select from was where was.meaning = will_be.meaning))
$$;

-- A next version on its way. `payload` holds the exact bytes that the digest covers, and that a publisher names: the rules, and
-- the version that they were written against.
create table app.constitution_drafts (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    base_version integer not null,
    rules jsonb not null check (jsonb_typeof(rules) = 'array' and jsonb_array_length(rules) <= 200),
    reason text not null check (length(reason) between 1 and 2000),
    payload text not null check (length(payload) <= 1000000),
    digest text not null,
    widens boolean not null,
    status text not null default 'draft' check (status in ('draft', 'in_review', 'published', 'rejected', 'withdrawn')),
    author uuid not null,
    origin_version integer,  -- the older version that it begins from, when it is one restored
    amendment_id uuid,       -- the amendment that it adopts
    revision integer not null default 1,
    decided_by uuid,
    decided_at timestamptz,
    decision_reason text check (length(decision_reason) <= 2000),
    version integer,         -- that it became
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, base_version) references app.constitution_versions (tenant_id, version),
    foreign key (tenant_id, origin_version) references app.constitution_versions (tenant_id, version),
    check ((status = 'published') = (version is not null))
);
create index constitution_drafts_by_time on app.constitution_drafts (tenant_id, created_at desc, id desc);
create index constitution_drafts_by_base on app.constitution_drafts (tenant_id, base_version);
create index constitution_drafts_by_origin on app.constitution_drafts (tenant_id, origin_version);

-- Where a version comes from: its draft, who wrote that, and whether it let more happen without a person than the one before.
-- Null for versions from before there were drafts.
alter table app.constitution_versions
    add column draft_id uuid,
    add column author uuid,
    add column digest text,
    add column widened boolean,
    add constraint constitution_versions_draft foreign key (tenant_id, draft_id) references app.constitution_drafts (tenant_id, id);
create unique index constitution_versions_by_draft on app.constitution_versions (tenant_id, draft_id);

-- Whether a draft is one that its author proposed as an amendment, so that whoever adopts it may write it down in the author's
-- name. There are no amendments yet; their migration replaces this.
create function private.drafted_for_amendment(p_draft app.constitution_drafts) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select false
$$;

-- A draft says what its digest covers, against the version in force.
create function private.require_draft_content(p_draft app.constitution_drafts) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_version integer;
begin
    select max(version) into v_version from app.constitution_versions where tenant_id = p_draft.tenant_id;
    if v_version is distinct from p_draft.base_version then
        perform private.fail(412, 'version_moved', format('The constitution in force is version %s.', v_version));
    elsif p_draft.digest is distinct from 'sha256:' || encode(sha256(convert_to(p_draft.payload, 'UTF8')), 'hex')
        or p_draft.payload::jsonb is distinct from jsonb_build_object('base_version', p_draft.base_version, 'rules', p_draft.rules) then
        perform private.fail(422, 'payload_mismatch', 'The payload is not that of this draft.');
    end if;
end
$$;

-- A draft is its author's while it is one; it is published or rejected by a person with the permission, and rejected by another
-- one. Whoever writes the row. Whether its author may publish it is asked where the version is written.
create function private.guard_constitution_draft() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_author boolean;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A draft is withdrawn, never deleted.');
    elsif tg_op = 'UPDATE' and old.status not in ('draft', 'in_review') then
        perform private.fail(409, 'already_decided', format('This draft is %s already.', old.status));
    end if;
    v_principal := private.require(case when new.status in ('published', 'rejected') then 'constitution.publish' else 'constitution.draft' end);
    if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id then
        perform private.fail(403, 'people_only', 'Only a person of the tenant drafts and publishes its constitution.');
    end if;
    v_author := v_principal.id = new.author;
    if tg_op = 'INSERT' then
        if new.status not in ('draft', 'in_review') or new.decided_by is not null or new.decided_at is not null or new.version is not null then
            perform private.fail(409, 'invalid_transition', 'A draft begins as one, or in review.');
        elsif not v_author and not private.drafted_for_amendment(new) then
            perform private.fail(403, 'not_the_author', 'A draft is written in its author''s own name.');
        end if;
        perform private.require_draft_content(new);
        new.revision := 1;
        new.created_at := now();
    elsif new.status in ('draft', 'in_review', 'withdrawn') and not v_author then
        perform private.fail(403, 'not_the_author', 'Only its author edits, submits or withdraws a draft.');
    elsif new.status <> old.status
        and (new.base_version, new.rules, new.reason, new.payload, new.digest) is distinct from
            (old.base_version, old.rules, old.reason, old.payload, old.digest)
        or old.status = 'in_review' and new.status in ('draft', 'in_review')
        or old.status = 'draft' and new.status in ('published', 'rejected') then
        perform private.fail(409, 'invalid_transition', format('A draft that is %s is not changed so.', replace(old.status, '_', ' ')));
    elsif new.version is not null and new.status <> 'published'
        or (new.decided_by, new.decided_at) is distinct from (old.decided_by, old.decided_at) and new.status in ('draft', 'in_review') then
        perform private.fail(409, 'invalid_transition', 'What became of a draft is written when it is decided.');
    elsif new.status = 'draft' then
        perform private.require_draft_content(new);
        new.revision := old.revision + 1;
    elsif new.status in ('published', 'rejected', 'withdrawn') then
        if v_principal.id is distinct from new.decided_by then
            perform private.fail(403, 'people_only', 'A person decides in his own name.');
        elsif new.status = 'rejected' and v_author then
            perform private.fail(403, 'own_draft', 'Its author withdraws a draft; somebody else rejects it.');
        elsif new.status = 'published' then
            -- Whoever publishes at the same moment waits here, and finds the version moved.
            perform private.lock_tenant(new.tenant_id, true);
            perform private.require_draft_content(new);
            new.version := new.base_version + 1;
        end if;
        new.decided_at := now();
    end if;
    if tg_op = 'UPDATE' and new.status <> 'draft' then
        new.widens := old.widens;
        new.revision := old.revision;
    else
        new.widens := private.constitution_widens((select rules from app.constitution_versions
            where tenant_id = new.tenant_id and version = new.base_version), new.rules);
    end if;
    new.updated_at := now();
    return new;
end
$$;
create trigger constitution_drafts_guard before insert or update or delete on app.constitution_drafts
    for each row execute function private.guard_constitution_draft();
create trigger constitution_drafts_keep_columns before update on app.constitution_drafts
    for each row execute function private.keep_columns('base_version', 'rules', 'reason', 'payload', 'digest', 'widens', 'status',
        'revision', 'decided_by', 'decided_at', 'decision_reason', 'version', 'updated_at');

-- What is published is in force, in the same transaction: no published draft waits for somebody to apply it.
create function private.apply_constitution_draft() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into app.constitution_versions (tenant_id, version, rules, reason, published_by, draft_id)
    values (new.tenant_id, new.version, new.rules, new.reason, new.decided_by, new.id);
    return null;
end
$$;
create trigger constitution_drafts_apply after update on app.constitution_drafts
    for each row when (new.status = 'published' and old.status <> 'published') execute function private.apply_constitution_draft();

-- As it was, and a version after the first is that of a draft which this very transaction publishes; where it lets more happen
-- without a person, its publisher did not write it.
create or replace function private.guard_constitution() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_draft app.constitution_drafts;
begin
    -- The first version comes with the tenant, whose creator is already its owner.
    v_principal := case when new.version = 1 then private.current_member(new.tenant_id)
        else private.require('constitution.publish') end;
    if v_principal.kind is distinct from 'user' or v_principal.tenant_id <> new.tenant_id or v_principal.id <> new.published_by then
        perform private.fail(403, 'people_only', 'Only a person of the tenant publishes its constitution.');
    elsif new.version = 1 then
        new.draft_id := null;
        new.author := new.published_by;
        new.digest := null;
        new.widened := false;
        return new;
    end if;
    perform private.lock_tenant(new.tenant_id, true);
    select * into v_draft from app.constitution_drafts where tenant_id = new.tenant_id and id = new.draft_id
        and status = 'published' and decided_at = now() and decided_by = new.published_by;
    if not found then
        perform private.fail(409, 'draft_not_published', 'A version is published from a draft only.');
    elsif (v_draft.version, v_draft.rules, v_draft.reason) is distinct from (new.version, new.rules, new.reason) then
        perform private.fail(409, 'not_what_was_published', 'The version is not that of its draft.');
    end if;
    new.author := v_draft.author;
    new.digest := v_draft.digest;
    new.published_at := now();
    -- Asked of the version before this one, which is still the newest: its number is the draft's base.
    select private.constitution_widens(rules, new.rules) into new.widened from app.constitution_versions
        where tenant_id = new.tenant_id and version = (select max(version) from app.constitution_versions where tenant_id = new.tenant_id);
    if new.widened is distinct from false and v_draft.author = v_principal.id then
        perform private.fail(409, 'second_person_needed', 'This lets more happen without a person than the version in force, so '
            'another person publishes it: draft it with POST /v1/constitution/drafts, submit it, and let somebody else publish it.');
    end if;
    return new;
end
$$;

-- From now on the log says of a version who wrote it, and whether it let more happen.
drop trigger zz_audit_change on app.constitution_versions;
select private.audit_table('app.constitution_versions', 'constitution', 'published', 'version published_by draft_id author digest widened', 'reason');
select private.audit_table('app.constitution_drafts', 'constitution_draft', 'drafted',
    'base_version digest widens author origin_version amendment_id revision decided_by version', 'reason decision_reason');
select private.guard_table('app.constitution_drafts');

alter table app.constitution_drafts enable row level security;
alter table app.constitution_drafts force row level security;
create policy "members read the drafts of their tenant's constitution" on app.constitution_drafts for select to authenticated
    using (tenant_id = (select private.current_tenant()));
grant select on app.constitution_drafts to authenticated;

create function private.draft_answer(p_draft app.constitution_drafts) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select to_jsonb(p_draft) - '{tenant_id,payload}'::text[]
$$;

-- Writes a draft down. args: {id, base_version, rules, reason, payload, origin_version?}; without payload it is made here.
create function private.write_draft(p_tenant uuid, p_author uuid, p_args jsonb, p_status text, p_amendment uuid default null)
returns app.constitution_drafts
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_draft app.constitution_drafts;
    v_payload text := coalesce(p_args ->> 'payload',
        jsonb_build_object('base_version', (p_args ->> 'base_version')::integer, 'rules', p_args -> 'rules')::text);
begin
    insert into app.constitution_drafts (tenant_id, id, base_version, rules, reason, payload, digest, status, author, origin_version, amendment_id)
    values (p_tenant, coalesce((p_args ->> 'id')::uuid, gen_random_uuid()), (p_args ->> 'base_version')::integer, p_args -> 'rules',
        p_args ->> 'reason', v_payload, 'sha256:' || encode(sha256(convert_to(v_payload, 'UTF8')), 'hex'), p_status, p_author,
        (p_args ->> 'origin_version')::integer, p_amendment)
    returning * into v_draft;
    return v_draft;
end
$$;

-- The draft that is asked for, held until the transaction ends.
create function private.open_draft(p_principal private.principal, p_id uuid) returns app.constitution_drafts
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_draft app.constitution_drafts;
begin
    select * into v_draft from app.constitution_drafts where tenant_id = p_principal.tenant_id and id = p_id for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such draft.');
    elsif v_draft.status not in ('draft', 'in_review') then
        perform private.fail(409, 'already_decided', format('This draft is %s already.', v_draft.status));
    end if;
    return v_draft;
end
$$;

-- Publishes a draft in review in the principal's name: the next version, in force with this transaction. The principal comes from
-- private.require_alone('constitution.publish'). Errors: CS412 when another version was published since it was written, CS409
-- second_person_needed when the principal wrote what widens.
create function private.publish_draft(p_principal private.principal, p_draft uuid, p_reason text default null) returns app.constitution_drafts
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_draft app.constitution_drafts := private.open_draft(p_principal, p_draft);
begin
    update app.constitution_drafts set status = 'published', decided_by = p_principal.id, decision_reason = p_reason
        where tenant_id = v_draft.tenant_id and id = v_draft.id returning * into v_draft;
    return v_draft;
end
$$;

-- args: {id, base_version, rules, reason, payload, origin_version?}
create function app.create_constitution_draft_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('constitution.draft');
begin
    return private.draft_answer(private.write_draft(v_principal.tenant_id, v_principal.id, p_args, 'draft'));
end
$$;

-- Writes a draft anew: its author, while it is one. CS412 unless `if_match` (null: any) holds its revision of now.
-- args: {id, if_match: [revision], base_version, rules, reason, payload}
create function app.update_constitution_draft_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('constitution.draft');
    v_draft app.constitution_drafts := private.open_draft(v_principal, (p_args ->> 'id')::uuid);
begin
    if v_draft.author = v_principal.id and jsonb_typeof(p_args -> 'if_match') = 'array'
        and not (p_args -> 'if_match') ? v_draft.revision::text then
        perform private.fail(412, 'precondition_failed', 'The draft has changed meanwhile; load it again.');
    end if;
    update app.constitution_drafts set base_version = (p_args ->> 'base_version')::integer, rules = p_args -> 'rules',
        reason = p_args ->> 'reason', payload = p_args ->> 'payload',
        digest = 'sha256:' || encode(sha256(convert_to(p_args ->> 'payload', 'UTF8')), 'hex')
        where tenant_id = v_draft.tenant_id and id = v_draft.id returning * into v_draft;
    return private.draft_answer(v_draft);
end
$$;

-- Hands a draft to whoever publishes it; from here on nobody changes it. args: {id}
create function app.submit_constitution_draft_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('constitution.draft');
    v_draft app.constitution_drafts := private.open_draft(v_principal, (p_args ->> 'id')::uuid);
begin
    update app.constitution_drafts set status = 'in_review'
        where tenant_id = v_draft.tenant_id and id = v_draft.id returning * into v_draft;
    return private.draft_answer(v_draft);
end
$$;

-- Takes a draft back for good: its author. args: {id, reason}
create function app.withdraw_constitution_draft_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('constitution.draft');
    v_draft app.constitution_drafts := private.open_draft(v_principal, (p_args ->> 'id')::uuid);
begin
    update app.constitution_drafts set status = 'withdrawn', decided_by = v_principal.id, decision_reason = p_args ->> 'reason'
        where tenant_id = v_draft.tenant_id and id = v_draft.id returning * into v_draft;
    return private.draft_answer(v_draft);
end
$$;

-- Publishes a draft in review, or rejects it: exactly the one that was read. args: {id, verdict: publish | reject, digest, reason}
create function app.decide_constitution_draft_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('constitution.publish');
    v_draft app.constitution_drafts := private.open_draft(v_principal, (p_args ->> 'id')::uuid);
begin
    if v_draft.digest is distinct from p_args ->> 'digest' then
        perform private.fail(409, 'digest_mismatch', 'The draft is not the one that was read; load it again.');
    elsif p_args ->> 'verdict' is null or p_args ->> 'verdict' not in ('publish', 'reject') then
        perform private.fail(422, 'unknown_verdict', 'A verdict is publish or reject.');
    elsif p_args ->> 'verdict' = 'publish' then
        return private.draft_answer(private.publish_draft(v_principal, v_draft.id, p_args ->> 'reason'));
    end if;
    update app.constitution_drafts set status = 'rejected', decided_by = v_principal.id, decision_reason = p_args ->> 'reason'
        where tenant_id = v_draft.tenant_id and id = v_draft.id returning * into v_draft;
    return private.draft_answer(v_draft);
end
$$;

-- Publishes the next version at once: a draft that its author publishes, which only one that widens nothing can be.
-- args: {rules, reason, expected_version, payload?}
create or replace function app.publish_constitution_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('constitution.publish');
    v_draft app.constitution_drafts;
begin
    v_draft := private.write_draft(v_principal.tenant_id, v_principal.id,
        p_args || jsonb_build_object('base_version', p_args -> 'expected_version'), 'in_review');
    v_draft := private.publish_draft(v_principal, v_draft.id);
    return jsonb_build_object('version', v_draft.version, 'rules', v_draft.rules, 'reason', v_draft.reason, 'digest', v_draft.digest,
        'draft_id', v_draft.id, 'author', v_draft.author, 'widened', v_draft.widens,
        'published_by', v_draft.decided_by, 'published_at', v_draft.decided_at);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.create_constitution_draft_v1, app.update_constitution_draft_v1, app.submit_constitution_draft_v1,
    app.withdraw_constitution_draft_v1, app.decide_constitution_draft_v1 to authenticated;
