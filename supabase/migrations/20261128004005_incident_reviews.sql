-- Incidents, afterwards: the review of what is resolved, and what is to be done so that it does not come back.

-- What was learned, once, by somebody else than who resolved it. impact: {money: [{amount, currency}], records, people, note}; amounts in
-- minor units.
create table app.incident_reviews (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    incident_id uuid not null,
    environment text check (environment in ('sandbox', 'production')),
    what_happened text not null check (length(trim(what_happened)) > 0 and length(what_happened) <= 10000),
    root_cause text not null check (length(trim(root_cause)) > 0 and length(root_cause) <= 10000),
    impact jsonb not null check (jsonb_typeof(impact) = 'object' and length(impact::text) <= 8000),
    went_well text not null default '' check (length(went_well) <= 5000),
    went_badly text not null default '' check (length(went_badly) <= 5000),
    digest text not null,
    reviewed_by text not null,
    created_at timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, incident_id) references app.incidents (tenant_id, id)
);
create unique index incident_reviews_one_each on app.incident_reviews (tenant_id, incident_id);

-- What is to be done so that it does not come back: by whom, until which day (UTC), and closed with what was done.
create table app.incident_follow_ups (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    incident_id uuid not null,
    environment text check (environment in ('sandbox', 'production')),
    what text not null check (length(trim(what)) > 0 and length(what) <= 2000),
    owner_id uuid not null,
    due_on date not null,
    status text not null default 'open' check (status in ('open', 'closed')),
    created_by text not null,
    created_at timestamptz not null,
    overdue_at timestamptz,     -- when somebody was told that it is overdue
    closed_by text,
    closed_at timestamptz,
    closing_note text check (length(closing_note) <= 2000),
    primary key (tenant_id, id),
    foreign key (tenant_id, incident_id) references app.incidents (tenant_id, id)
);
create index incident_follow_ups_by_incident on app.incident_follow_ups (tenant_id, incident_id, due_on, id);
create index incident_follow_ups_by_day on app.incident_follow_ups (tenant_id, status, due_on, id);
create index incident_follow_ups_to_tell on app.incident_follow_ups (due_on) where status = 'open' and overdue_at is null;

-- A review follows what is resolved, once, by a person who may, and by another one than who resolved it wherever there is another.
create function private.guard_incident_review() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_incident app.incidents;
begin
    perform private.require_person('incidents.review', new.tenant_id);
    select * into v_incident from app.incidents where tenant_id = new.tenant_id and id = new.incident_id for update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such incident.');
    elsif v_incident.status <> 'resolved' then
        perform private.fail(409, 'incident_moved', format('The incident is %s; a review follows what is resolved.', v_incident.status));
    elsif v_incident.resolved_by = private.acting() and exists (
        select from app.members m join private.permissions p on p.permission = 'incidents.review' and m.role = any (p.roles)
        where m.tenant_id = new.tenant_id and 'user:' || m.user_id <> v_incident.resolved_by) then
        perform private.fail(403, 'own_resolution', 'You resolved it; somebody else who may review it does.');
    end if;
    new.environment := v_incident.environment;
    new.reviewed_by := private.acting();
    new.created_at := clock_timestamp();
    new.digest := private.digest_of(concat_ws(E'\n', new.what_happened, new.root_cause, new.impact::text, new.went_well, new.went_badly));
    return new;
end
$$;

create function private.incident_is_reviewed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update app.incidents set status = 'reviewed', said = '', link_type = null, link_id = null
        where tenant_id = new.tenant_id and id = new.incident_id;
    return null;
end
$$;

-- A follow-up is closed once, by whoever answers for it or may manage incidents, with what was done; nothing else of it changes, but that
-- a scheduled function notes that it told of its being overdue, and that it is handed over, whoever does that, when who was to do it is no
-- member any more.
create function private.guard_follow_up() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_today constant date := (clock_timestamp() at time zone 'utc')::date;
    v_principal private.principal;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'A follow-up is never deleted; close it and say why.');
    elsif tg_op = 'INSERT' then
        v_principal := private.require_person('incidents.manage', new.tenant_id);
        perform private.require_answerer(new.tenant_id, new.owner_id);
        if new.due_on not between v_today and v_today + 366 then
            perform private.fail(422, 'invalid_day', 'A follow-up is due today or later, and within a year.');
        elsif (select count(*) from app.incident_follow_ups where tenant_id = new.tenant_id and incident_id = new.incident_id) >= 100 then
            perform private.fail(409, 'too_many_follow_ups', 'An incident has 100 follow-ups at most.');
        end if;
        select environment into new.environment from app.incidents where tenant_id = new.tenant_id and id = new.incident_id;
        if not found then
            perform private.fail(404, 'not_found', 'There is no such incident.');
        end if;
        new.status := 'open'; new.overdue_at := null; new.closed_by := null; new.closed_at := null; new.closing_note := null;
        new.created_by := private.acting();
        new.created_at := clock_timestamp();
        return new;
    elsif new.owner_id <> old.owner_id then
        if old.status <> 'open' or new.status <> 'open' or new.overdue_at is distinct from old.overdue_at
            or exists (select from app.members where tenant_id = old.tenant_id and user_id = old.owner_id) then
            perform private.fail(409, 'immutable_column', 'A follow-up is handed over only because whoever was to do it has left.');
        end if;
        perform private.require_answerer(new.tenant_id, new.owner_id);
        new.closed_by := null; new.closed_at := null; new.closing_note := null;
        return new;
    elsif old.status = 'closed' then
        perform private.fail(409, 'follow_up_closed', 'The follow-up is closed already.');
    elsif new.status = 'open' then
        v_principal := private.require('alerts.raise');
        if v_principal.tenant_id <> new.tenant_id or old.overdue_at is not null or old.due_on >= v_today then
            perform private.fail(409, 'invalid_transition', 'It is told once that a follow-up is overdue, when it is.');
        end if;
        new.overdue_at := clock_timestamp(); new.closed_by := null; new.closed_at := null; new.closing_note := null;
        return new;
    end if;
    v_principal := private.require_person('incidents.read', new.tenant_id);
    if v_principal.id <> old.owner_id and not 'incidents.manage' = any (v_principal.permissions) then
        perform private.fail(403, 'permission_denied', 'Whoever answers for a follow-up closes it, or somebody who manages incidents.');
    elsif length(trim(coalesce(new.closing_note, ''))) = 0 then
        perform private.fail(422, 'reason_needed', 'Say what was done.');
    end if;
    new.closed_by := private.acting();
    new.closed_at := clock_timestamp();
    new.overdue_at := old.overdue_at;
    return new;
end
$$;

-- The timeline of its incident says that it was added, who does it now, and that it was closed.
create function private.tell_of_follow_up() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' or new.status <> old.status then
        insert into app.incident_entries (tenant_id, incident_id, kind, text, after, written_by)
        values (new.tenant_id, new.incident_id, case tg_op when 'INSERT' then 'follow_up_added' else 'follow_up_closed' end,
            coalesce(new.closing_note, new.what), new.id, private.acting());
    elsif new.owner_id <> old.owner_id then
        insert into app.incident_entries (tenant_id, incident_id, kind, text, before, after, written_by)
        values (new.tenant_id, new.incident_id, 'owner_changed', left('Of what is to be done: ' || new.what, 2000), old.owner_id, new.owner_id,
            private.acting());
    end if;
    return null;
end
$$;

create trigger incident_reviews_guard before insert on app.incident_reviews
    for each row execute function private.guard_incident_review();
create trigger incident_reviews_tell after insert on app.incident_reviews
    for each row execute function private.incident_is_reviewed();
create trigger incident_follow_ups_guard before insert or update or delete on app.incident_follow_ups
    for each row execute function private.guard_follow_up();
create trigger incident_follow_ups_keep_columns before update on app.incident_follow_ups
    for each row execute function private.keep_columns('owner_id', 'status', 'overdue_at', 'closed_by', 'closed_at', 'closing_note');
create trigger incident_follow_ups_tell after insert or update on app.incident_follow_ups
    for each row execute function private.tell_of_follow_up();

-- The log says who did what and when, and by digests which words were said; the words themselves are here.
select private.audit_table('app.incident_reviews', 'incident_review', 'recorded', 'incident_id digest reviewed_by');
select private.append_only('app.incident_reviews');
select private.audit_table('app.incident_follow_ups', 'incident_follow_up', 'added', 'incident_id owner_id due_on closed_by overdue_at');

alter table app.incident_reviews enable row level security;
alter table app.incident_reviews force row level security;
create policy "members read their tenant's reviews of their environment" on app.incident_reviews for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));
alter table app.incident_follow_ups enable row level security;
alter table app.incident_follow_ups force row level security;
create policy "members read their tenant's follow-ups of their environment" on app.incident_follow_ups for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or environment = coalesce((select private.current_environment()), environment)));
grant select on app.incident_reviews, app.incident_follow_ups to authenticated;

revoke all on all functions in schema app, private from public;
