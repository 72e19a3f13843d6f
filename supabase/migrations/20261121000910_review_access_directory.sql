-- What a review of access specs, retention and the directory found, and what holds since.

-- Control 1. As it was; and a field that is named by `*` alone is all of the answer.
create or replace function private.readiness_1(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with tools as (select * from private.granted_tools(p_version.spec))
    select case when count(*) = 0 then 'The spec names no tool.'
            when count(*) > count(contract) then format('Not in force: %s. Take them out, or have them published.',
                string_agg(name, ', ') filter (where contract is null)) end,
        format('All %s tools are named one by one and in force.', count(*)) from tools
    union all
    select 'Granted for another access than they have: ' || string_agg(name, ', ') || '. Correct the spec.',
        'Every tool is granted for the access that its contract has.'
        from tools where contract is not null and granted ->> 'access' is distinct from contract ->> 'access'
    union all
    select 'Name the fields to keep, and not the whole answer, for: ' || string_agg(name, ', ') || '.',
        'Every read names the fields that are kept.'
        from tools where granted ->> 'access' = 'read' and (
            not exists (select from private.text_items(granted -> 'read_fields'))
            or exists (select from private.text_items(granted -> 'read_fields') f where f ~ '^(/\*)*$'))
    union all
    select 'No connection is bound for: ' || string_agg(t.name, ', ') || '.', 'Every tool has its connection.'
        from tools t where contract is not null and not exists (select from private.bound_connections(p_version.spec) b
            where b.provider = t.provider and b.access = t.granted ->> 'access')
    union all
    select 'A write connection is bound and no tool writes through it: ' || string_agg(b.provider, ', ') || '. Take it out.',
        'No write connection is bound without a tool that writes.'
        from private.bound_connections(p_version.spec) b where b.access = 'write' and not exists (
            select from tools t where t.provider = b.provider and t.granted ->> 'access' = 'write')
    union all
    select 'Row-level security is not enabled and forced on: ' || string_agg(c.relname, ', ') || '. Apply the migrations again.',
        'Row-level security is enabled and forced on every table.'
        from pg_class c where c.relnamespace = 'app'::regnamespace and c.relkind in ('r', 'p')
            and not (c.relrowsecurity and c.relforcerowsecurity)
$$;

-- Control 3. As it was, and no guard of any table is missed, whichever control relies on it.
create or replace function private.readiness_3(p_workflow app.workflows, p_version app.workflow_versions)
returns table (missing text, evidence text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with head as (select seq, hash from app.audit_heads where tenant_id = p_workflow.tenant_id), events as (
        select e.seq, e.hash, e.hash = sha256(e.prev_hash || convert_to(e.record, 'UTF8'))
            and e.prev_hash = coalesce(lag(e.hash) over w, case when e.seq = 1
                then sha256(convert_to(e.tenant_id::text, 'UTF8')) else e.prev_hash end)
            and e.seq = h.seq - count(*) over () + row_number() over w as holds
        from head h join app.audit_events e on e.tenant_id = p_workflow.tenant_id and e.seq > h.seq - 1000
        window w as (order by e.seq)
    )
    select case when not coalesce(bool_and(holds), false) or count(*) <> (select least(seq, 1000) from head)
            or max(seq) is distinct from (select seq from head)
            or (select hash from head) is distinct from (select hash from events order by seq desc limit 1)
            then 'The audit log does not verify to its head. Call GET /v1/audit/verify, and find out who changed it.' end,
        format('The last %s events of the audit log verify to its head, event %s.', count(*), max(seq)) from events
    union all
    select 'Changes are not recorded, because these triggers are gone or switched off: '
            || string_agg(relation || '.' || trigger, ', ') || '. Apply the migrations again.',
        'Every table that holds state records its changes.'
        from private.guards_off() where trigger = 'zz_audit_change' or relation like 'app.audit%'
    union all
    select 'What was written would not stand, because these guards are gone or switched off: '
            || string_agg(relation || '.' || trigger, ', ') || '. Apply the migrations again.',
        'The guards of every table are in place and fire for every session.'
        from private.guards_off() where trigger <> 'zz_audit_change' and relation not like 'app.audit%'
$$;

-- What was compared with a version that is not live any more could widen again what was narrowed since: a version goes
-- live on top of older ones only, whoever changes the row.
create function private.guard_review_order() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from app.workflow_reviews where tenant_id = new.tenant_id and workflow_id = new.workflow_id
        and version > new.version and status in ('live', 'superseded')) then
        perform private.fail(409, 'newer_version_approved',
            'A newer version has been approved since this one was written; draft it again on top of that.');
    end if;
    return new;
end
$$;
create trigger workflow_reviews_order before update on app.workflow_reviews
    for each row when (new.status = 'live') execute function private.guard_review_order();
select private.guard_table('app.workflow_reviews');

-- As it was; with compared_with (null: with none) that version is live still, or nothing happens.
-- args: {slug, version, reason, spec_digest?, hard_gates?, compared_with?}
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

-- The key by which a detail is compared, of the value that a checker reads; null where the database cannot tell.
create function private.key_of_detail(p_detail jsonb) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case p_detail ->> 'type'
        when 'bank_account' then case
            when v ? 'iban' then 'iban:' || (v ->> 'iban')
            when v ? 'routing_number' then concat('us:', v ->> 'routing_number', '/', v ->> 'account_number')
            else concat('other:', v ->> 'bank_code', '/', v ->> 'account_number') end
        when 'external_id' then concat(v ->> 'system', '/', v ->> 'id')
        when 'address' then null
        else coalesce(v ->> (p_detail ->> 'type'), '') end
    from (select p_detail -> 'value' as v) t
$$;

-- What is read in a proposal is what is compared afterwards, and what is removed keeps nothing. Whoever writes the row.
create function private.guard_directory_proposal() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_details jsonb := new.payload::jsonb -> 'details';
begin
    if new.kind in ('remove', 'settings') and jsonb_array_length(v_details) > 0 then
        perform private.fail(422, 'payload_mismatch', 'Only an entry that stays has details.');
    elsif exists (select from jsonb_array_elements(v_details) d
        where coalesce(private.key_of_detail(d), d ->> 'key') is distinct from d ->> 'key') then
        perform private.fail(422, 'payload_mismatch', 'A detail is compared by what it says.');
    end if;
    return new;
end
$$;
create trigger directory_changes_proposal before insert on app.directory_changes
    for each row execute function private.guard_directory_proposal();
select private.guard_table('app.directory_changes');

-- When the next part of an observation is due, so that what is kept for years costs the purge nothing.
alter table app.observations add column due_at timestamptz;
create function private.next_erasure(p_row app.observations) returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    -- In hours, as ages are compared: a day is 24 of them, whatever the session's time zone.
    select case when p_row.erased_at is null then coalesce(p_row.finished_at, p_row.created_at) + make_interval(hours => 24 * least(
        coalesce((v.spec ->> 'retention_days')::integer, 365),
        (select min(c.value::integer) from jsonb_each_text(coalesce(v.spec -> 'retention', '{}')) c where exists (
            select from jsonb_each(coalesce(p_row.labels, '{}')) l where private.class_of_label(l.value) = c.key)))) end
    from (select) one
    left join app.runs r on r.tenant_id = p_row.tenant_id and r.id = p_row.run_id
    left join app.workflow_versions v on v.tenant_id = r.tenant_id and v.workflow_id = r.workflow_id and v.version = r.workflow_version
$$;

-- The last trigger before a row is written: labels that are erased count no more, and nobody else says when.
create function private.stamp_erasure() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.due_at := private.next_erasure(new);
    return new;
end
$$;
alter table app.observations disable trigger user;
update app.observations o set due_at = private.next_erasure(o) where erased_at is null;
create trigger observations_when_due before insert or update on app.observations
    for each row execute function private.stamp_erasure();
select private.guard_table('app.observations');
drop index app.observations_not_erased;
create index observations_by_due on app.observations (due_at) where erased_at is null;

-- Observations of any tenant of which something is due, what is overdue longest first, as ids.
create or replace function app.claim_expired_observations_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', tenant_id, 'id', id)), '[]') from (
        select tenant_id, id from app.observations where erased_at is null and due_at <= now() order by due_at limit p_limit) found
$$;

revoke all on all functions in schema app, private from public;
