-- Amendments: what people decided on an exception, proposed as a rule, so that its class need not wait for them again. A rule that
-- lets more happen is adopted by somebody else than who proposed it; one that is adopted is in force in the same transaction.

insert into private.permissions (permission, roles, service, system, aal2, meaning) values
    ('amendments.propose', '{owner,admin,approver}', false, false, false, 'propose a rule from a decided exception, and try it on what was decided');
alter table private.permissions add constraint amendments_are_proposed_by_people
    check (permission <> 'amendments.propose' or not (service or system));

-- One proposed rule. `payload` holds the exact bytes that the digest covers, and that whoever adopts it names.
-- backtest: what the rule would have decided otherwise, tried on backtest_version and this rule. contradictions: of those, what
-- it would allow although a person decided against it. acknowledged: whoever adopted it knew.
create table app.amendments (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    exception_id uuid not null,
    class_key text not null,
    kind text not null check (kind in ('loosen', 'tighten')),
    rule jsonb not null check (jsonb_typeof(rule) = 'object'),
    payload text not null check (length(payload) <= 20000),
    digest text not null,
    reason text not null check (length(trim(reason)) between 1 and 2000),
    status text not null default 'proposed' check (status in ('proposed', 'adopted', 'rejected', 'withdrawn', 'lapsed')),
    proposed_by uuid not null,
    backtest jsonb not null check (jsonb_typeof(backtest) = 'object' and length(backtest::text) <= 1000000),
    backtest_version integer not null,
    contradictions integer not null default 0 check (contradictions >= 0),
    acknowledged boolean not null default false,
    decided_by uuid,
    decided_at timestamptz,
    decision_reason text check (length(decision_reason) <= 2000),
    constitution_version integer,   -- that it became part of
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, exception_id) references app.exceptions (tenant_id, id),
    foreign key (tenant_id, backtest_version) references app.constitution_versions (tenant_id, version),
    foreign key (tenant_id, constitution_version) references app.constitution_versions (tenant_id, version),
    check ((status = 'adopted') = (constitution_version is not null))
);
create index amendments_by_time on app.amendments (tenant_id, created_at desc, id desc);
create index amendments_by_exception on app.amendments (tenant_id, exception_id);
create index amendments_by_class on app.amendments (tenant_id, class_key, decided_at desc);
create index amendments_by_backtest on app.amendments (tenant_id, backtest_version);
create index amendments_by_version on app.amendments (tenant_id, constitution_version);
-- Two people propose at once; one proposal of a class is looked at.
create unique index amendments_one_open on app.amendments (tenant_id, class_key) where status = 'proposed';

-- A draft that adopts an amendment names it.
alter table app.constitution_drafts add constraint constitution_drafts_amendment
    foreign key (tenant_id, amendment_id) references app.amendments (tenant_id, id);
create index constitution_drafts_by_amendment on app.constitution_drafts (tenant_id, amendment_id);

-- A rule that allows names the checks it lifts, what bounds it, when it ends and where it comes from.
create function private.require_amendment_content(p_row app.amendments) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_exception app.exceptions;
    v_allows constant boolean := p_row.rule ->> 'effect' is not distinct from 'allow';
begin
    select * into v_exception from app.exceptions where tenant_id = p_row.tenant_id and id = p_row.exception_id;
    if v_exception.class_key is null or v_exception.status not in ('approved', 'rejected') then
        perform private.fail(409, 'not_decided', 'An amendment begins with an exception that a person approved or rejected.');
    elsif (v_exception.class_key, v_exception.environment) is distinct from (p_row.class_key, p_row.environment) then
        perform private.fail(422, 'other_class', 'The amendment is not of the class of its exception.');
    elsif p_row.digest is distinct from 'sha256:' || encode(sha256(convert_to(p_row.payload, 'UTF8')), 'hex')
        or p_row.payload::jsonb is distinct from p_row.rule then
        perform private.fail(422, 'payload_mismatch', 'The payload is not that of this rule.');
    elsif p_row.rule -> 'origin' is distinct from jsonb_build_object('kind', 'amendment', 'ref', p_row.id) then
        perform private.fail(422, 'no_origin', 'The rule does not say which amendment it comes from.');
    elsif v_allows <> (p_row.kind = 'loosen') or (v_exception.status = 'approved') <> (p_row.kind = 'loosen') then
        perform private.fail(422, 'other_way', 'What was approved may be allowed, and what was rejected denied.');
    elsif not v_allows and p_row.rule ->> 'effect' is distinct from 'deny' then
        perform private.fail(422, 'other_way', 'What was rejected is denied.');
    elsif p_row.rule -> 'applies_to' is distinct from jsonb_build_array(v_exception.class -> 'tool')
        or p_row.rule #> '{bounds,workflows}' is distinct from jsonb_build_array(v_exception.class -> 'workflow') then
        perform private.fail(422, 'too_wide', 'The rule is for the tool and the workflow of its exception.');
    elsif v_allows and ((p_row.rule ->> 'expires_at')::timestamptz > now() + interval '366 days' or p_row.rule ->> 'expires_at' is null
        or coalesce(p_row.rule -> 'lifts', '[]') = '[]'
        or p_row.rule -> 'lifts' ? 'value' and coalesce(p_row.rule #> '{bounds,amounts}', '{}') = '{}'
        or p_row.rule -> 'lifts' ? 'counterparty' and coalesce(p_row.rule #> '{bounds,counterparties}', '[]') = '[]') then
        perform private.fail(422, 'too_wide', 'A rule that allows ends within a year, and bounds what it lifts.');
    end if;
end
$$;

-- A proposal is made, adopted, rejected and taken back by people in their own names, whoever writes the row.
create function private.guard_amendment() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'An amendment is withdrawn, never deleted.');
    elsif tg_op = 'UPDATE' and old.status <> 'proposed' then
        perform private.fail(409, 'already_decided', format('This amendment is %s already.', old.status));
    elsif new.status = 'lapsed' and tg_op = 'UPDATE' then
        if old.created_at > now() - interval '90 days' and coalesce((old.rule ->> 'expires_at')::timestamptz > now(), true) then
            perform private.fail(409, 'not_expired', 'There is still time to decide this amendment.');
        end if;
        new := old;
        new.status := 'lapsed';
        new.updated_at := now();
        return new;
    end if;
    v_principal := private.require(case when new.status in ('adopted', 'rejected') then 'constitution.publish' else 'amendments.propose' end);
    if v_principal.kind <> 'user' or v_principal.tenant_id <> new.tenant_id then
        perform private.fail(403, 'people_only', 'Only a person of the tenant proposes and adopts amendments.');
    elsif tg_op = 'INSERT' then
        if new.status <> 'proposed' or new.proposed_by <> v_principal.id or new.decided_by is not null or new.decided_at is not null
            or new.acknowledged then
            perform private.fail(409, 'invalid_transition', 'An amendment begins as a proposal, in one''s own name.');
        end if;
        perform private.require_amendment_content(new);
        new.created_at := now();
    elsif new.status = 'proposed' and (new.decided_by, new.decided_at, new.decision_reason, new.acknowledged)
            is distinct from (old.decided_by, old.decided_at, old.decision_reason, old.acknowledged)
        or new.status <> 'proposed' and (new.backtest, new.backtest_version, new.contradictions)
            is distinct from (old.backtest, old.backtest_version, old.contradictions) then
        perform private.fail(409, 'invalid_transition', 'What became of an amendment is written when it is decided, on what was tried before.');
    elsif new.status in ('rejected', 'withdrawn') and (new.status = 'withdrawn') <> (v_principal.id = new.proposed_by) then
        perform private.fail(403, 'own_amendment', 'Who proposed an amendment withdraws it; somebody else rejects it.');
    elsif new.status = 'adopted' then
        perform private.require_adoption(new);
    end if;
    if tg_op = 'UPDATE' and new.status <> 'proposed' then
        if v_principal.id is distinct from new.decided_by then
            perform private.fail(403, 'people_only', 'A person decides in his own name.');
        end if;
        new.decided_at := now();
    elsif new.status = 'proposed' then
        new.contradictions := coalesce((new.backtest ->> 'contradictions_to_allow')::integer, 0);
    end if;
    new.updated_at := now();
    return new;
end
$$;
create trigger amendments_guard before insert or update or delete on app.amendments
    for each row execute function private.guard_amendment();
create trigger amendments_keep_columns before update on app.amendments
    for each row execute function private.keep_columns('status', 'backtest', 'backtest_version', 'contradictions', 'acknowledged',
        'decided_by', 'decided_at', 'decision_reason', 'constitution_version', 'updated_at');
select private.audit_table('app.amendments', 'amendment', 'proposed',
    'exception_id class_key kind digest proposed_by decided_by backtest_version contradictions acknowledged constitution_version',
    'reason decision_reason');

-- Adopted is what this very transaction put in force: exactly this rule, by whoever adopts it. What lets more happen is adopted by
-- another person, who has seen what it would do under the rules of now, and what in it goes against what people decided.
create function private.require_adoption(p_row app.amendments) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_row.kind = 'loosen' and p_row.decided_by = p_row.proposed_by then
        perform private.fail(409, 'second_person_needed', 'This lets more happen without a person, so somebody else adopts it.');
    elsif p_row.kind = 'loosen' and p_row.backtest_version is distinct from p_row.constitution_version - 1 then
        perform private.fail(409, 'backtest_outdated', 'The constitution has changed since this was tried; run the backtest again.');
    elsif p_row.contradictions > 0 and not p_row.acknowledged then
        perform private.fail(409, 'contradicts_people', format('It would allow %s that a person decided against; look at them and acknowledge it.',
            p_row.contradictions));
    elsif not exists (select from app.constitution_versions v
        join app.constitution_drafts d on d.tenant_id = v.tenant_id and d.id = v.draft_id and d.amendment_id = p_row.id
        where v.tenant_id = p_row.tenant_id and v.version = p_row.constitution_version and v.published_at = now()
            and v.published_by = p_row.decided_by and exists (select from jsonb_array_elements(v.rules) r where r = p_row.rule)) then
        perform private.fail(409, 'not_in_force', 'An amendment is adopted by publishing its rule.');
    end if;
end
$$;

-- Whoever adopts an amendment writes the draft down in the name of who proposed it: the rules in force, and the rule.
create or replace function private.drafted_for_amendment(p_draft app.constitution_drafts) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.amendments a
        join app.constitution_versions v on v.tenant_id = a.tenant_id and v.version = p_draft.base_version
        where a.tenant_id = p_draft.tenant_id and a.id = p_draft.amendment_id and a.status = 'proposed' and a.proposed_by = p_draft.author
            and p_draft.rules = v.rules || jsonb_build_array(a.rule))
$$;

-- No amendment's rule is in force while the amendment waits.
create function private.require_adopted() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from app.amendments where tenant_id = new.tenant_id and id = new.amendment_id and status = 'adopted'
        and constitution_version = new.version) then
        perform private.fail(409, 'not_adopted', 'The draft of an amendment is published by adopting it.');
    end if;
    return null;
end
$$;
create constraint trigger constitution_drafts_adopt after update on app.constitution_drafts
    deferrable initially deferred for each row when (new.status = 'published' and new.amendment_id is not null)
    execute function private.require_adopted();
select private.guard_table('app.constitution_drafts');

-- A class that waits for people again although a rule covers it is told to whoever adopted that.
create function private.notice_returned_class() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_amendment app.amendments;
begin
    select a.* into v_amendment from app.amendments a
        where a.tenant_id = new.tenant_id and a.class_key = new.class_key and a.status = 'adopted'
            and coalesce((a.rule ->> 'expires_at')::timestamptz > now(), true)
            and exists (select from jsonb_array_elements((select v.rules from app.constitution_versions v
                where v.tenant_id = a.tenant_id order by v.version desc limit 1)) r where r ->> 'id' = a.rule ->> 'id')
        order by a.decided_at desc limit 1;
    if found then
        perform private.raise_alert(new.tenant_id, new.environment, 'amendment.class_returned', 'warning', 'amendment', v_amendment.id::text,
            'A class of exceptions is back although a rule covers it',
            jsonb_build_object('amendment_id', v_amendment.id, 'rule_id', v_amendment.rule -> 'id', 'class_key', new.class_key,
                'exception_id', new.id, 'action_id', new.action_id, 'worth', new.class -> 'worth',
                'amounts', coalesce(v_amendment.rule #> '{bounds,amounts}', '{}'),
                'outside', (select coalesce(jsonb_agg(w.key order by w.key), '[]') from jsonb_each_text(new.class -> 'worth') w
                    where v_amendment.rule #> '{bounds,amounts}' <> '{}' and coalesce(w.value::numeric not between
                        (v_amendment.rule #>> array['bounds', 'amounts', w.key, '0'])::numeric
                        and (v_amendment.rule #>> array['bounds', 'amounts', w.key, '1'])::numeric, true))),
            v_amendment.decided_by);
    end if;
    return null;
end
$$;
create trigger exceptions_notice_returned_class after insert on app.exceptions
    for each row when (new.class_key is not null) execute function private.notice_returned_class();
select private.guard_table('app.exceptions');

alter table app.amendments enable row level security;
alter table app.amendments force row level security;
create policy "members read their tenant's amendments of their environment" on app.amendments for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.amendments to authenticated;

create function private.amendment_answer(p_row app.amendments) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select to_jsonb(p_row) - '{tenant_id,payload}'::text[]
$$;

create function private.open_amendment(p_principal private.principal, p_id uuid) returns app.amendments
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_row app.amendments;
begin
    select * into v_row from app.amendments where tenant_id = p_principal.tenant_id and id = p_id for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such amendment.');
    elsif v_row.status <> 'proposed' then
        perform private.fail(409, 'already_decided', format('This amendment is %s already.', v_row.status));
    end if;
    return v_row;
end
$$;

-- Proposes a rule. args: {id, exception_id, kind, rule, payload, reason, backtest, backtest_version}
create function app.propose_amendment_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('amendments.propose');
    v_exception app.exceptions;
    v_row app.amendments;
begin
    select * into v_exception from app.exceptions where tenant_id = v_principal.tenant_id and id = (p_args ->> 'exception_id')::uuid;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such exception.');
    end if;
    -- What nobody decided in time is in nobody's way.
    update app.amendments set status = 'lapsed'
        where tenant_id = v_principal.tenant_id and class_key = v_exception.class_key and status = 'proposed'
            and (created_at <= now() - interval '90 days' or (rule ->> 'expires_at')::timestamptz <= now());
    insert into app.amendments (tenant_id, id, environment, exception_id, class_key, kind, rule, payload, digest, reason, proposed_by,
        backtest, backtest_version)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, v_exception.environment, v_exception.id, coalesce(v_exception.class_key, ''),
        p_args ->> 'kind', p_args -> 'rule', p_args ->> 'payload',
        'sha256:' || encode(sha256(convert_to(p_args ->> 'payload', 'UTF8')), 'hex'), p_args ->> 'reason', v_principal.id,
        p_args -> 'backtest', (p_args ->> 'backtest_version')::integer)
    returning * into v_row;
    return private.amendment_answer(v_row);
exception when unique_violation then
    perform private.fail(409, 'amendment_open', 'Another amendment of this class waits to be decided; adopt, reject or withdraw that one first.');
end
$$;

-- Keeps what trying the rule again has found. args: {id, backtest, backtest_version}
create function app.record_amendment_backtest_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('amendments.propose');
    v_row app.amendments := private.open_amendment(v_principal, (p_args ->> 'id')::uuid);
begin
    update app.amendments set backtest = p_args -> 'backtest', backtest_version = (p_args ->> 'backtest_version')::integer
        where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
    return private.amendment_answer(v_row);
end
$$;

-- Puts the rule in force: the rules of now and this one, as the next version. args: {id, digest, expected_version?, acknowledge, reason}
create function app.adopt_amendment_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('constitution.publish');
    v_row app.amendments := private.open_amendment(v_principal, (p_args ->> 'id')::uuid);
    v_constitution app.constitution_versions;
    v_draft app.constitution_drafts;
begin
    select * into v_constitution from app.constitution_versions where tenant_id = v_principal.tenant_id order by version desc limit 1;
    if v_row.digest is distinct from p_args ->> 'digest' then
        perform private.fail(409, 'digest_mismatch', 'The rule is not the one that was read; load it again.');
    elsif v_constitution.version <> (p_args ->> 'expected_version')::integer then
        perform private.fail(412, 'version_moved', format('The constitution in force is version %s.', v_constitution.version));
    elsif v_row.kind = 'loosen' and v_principal.id = v_row.proposed_by then
        perform private.fail(409, 'second_person_needed', 'This lets more happen without a person, so somebody else adopts it.');
    elsif (v_row.rule ->> 'expires_at')::timestamptz <= now() then
        perform private.fail(409, 'rule_expired', 'The rule has ended before it began; propose another.');
    elsif jsonb_array_length(v_constitution.rules) >= 200 then
        perform private.fail(409, 'too_many_rules', 'The constitution has 200 rules; publish one without those that have ended first.');
    end if;
    v_draft := private.write_draft(v_row.tenant_id, v_row.proposed_by, jsonb_build_object('base_version', v_constitution.version,
        'rules', v_constitution.rules || jsonb_build_array(v_row.rule), 'reason', v_row.reason), 'in_review', v_row.id);
    v_draft := private.publish_draft(v_principal, v_draft.id, p_args ->> 'reason');
    update app.amendments set status = 'adopted', decided_by = v_principal.id, decision_reason = p_args ->> 'reason',
        acknowledged = coalesce((p_args ->> 'acknowledge')::boolean, false), constitution_version = v_draft.version
        where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
    return private.amendment_answer(v_row);
end
$$;

-- Turns a proposal down: somebody else than who made it. args: {id, reason}
create function app.reject_amendment_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require_alone('constitution.publish');
    v_row app.amendments := private.open_amendment(v_principal, (p_args ->> 'id')::uuid);
begin
    update app.amendments set status = 'rejected', decided_by = v_principal.id, decision_reason = p_args ->> 'reason'
        where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
    return private.amendment_answer(v_row);
end
$$;

-- Takes a proposal back: who made it. args: {id, reason}
create function app.withdraw_amendment_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('amendments.propose');
    v_row app.amendments := private.open_amendment(v_principal, (p_args ->> 'id')::uuid);
begin
    update app.amendments set status = 'withdrawn', decided_by = v_principal.id, decision_reason = p_args ->> 'reason'
        where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
    return private.amendment_answer(v_row);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.propose_amendment_v1, app.record_amendment_backtest_v1, app.adopt_amendment_v1, app.reject_amendment_v1,
    app.withdraw_amendment_v1 to authenticated;
