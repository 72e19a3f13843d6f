-- The outbox: what channels are to be told. A row is written in the transaction of what it tells, and delivered afterwards by whoever
-- takes its lease, at least once and under one id. It is built for alerts; other events can be told by the same rows. What was told is kept
-- for 90 days after it ended, with titles and names as they were then; the log keeps that it was told.

-- content: what is told, as it was when it was written, so that every try sends the same. due_at and attempts: of the tries so far;
-- round: tries since it was written or sent again, by which the time to the next one grows.
create table app.notifications (
    tenant_id uuid not null references app.tenants,
    id uuid not null default gen_random_uuid(),
    channel_id uuid not null,
    environment text check (environment in ('sandbox', 'production')),
    event text not null check (event ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
    alert_id uuid,
    severity text not null check (severity in ('info', 'warning', 'critical')),
    content jsonb not null check (private.may_be_shown(content)),
    status text not null default 'pending' check (status in ('pending', 'delivered', 'dead', 'cancelled')),
    attempts integer not null default 0,
    round integer not null default 0,
    next_attempt_at timestamptz default now(),
    last_error text check (length(last_error) <= 500),
    created_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    primary key (tenant_id, id),
    foreign key (tenant_id, channel_id) references app.channels (tenant_id, id),
    foreign key (tenant_id, alert_id) references app.alerts (tenant_id, id),
    constraint due_while_pending check ((status = 'pending') = (next_attempt_at is not null))
);
create index notifications_by_channel on app.notifications (tenant_id, channel_id, created_at desc, id desc);
create index notifications_by_alert on app.notifications (tenant_id, alert_id, channel_id);
create index notifications_due on app.notifications (next_attempt_at) where status = 'pending';
-- What ended, the oldest first: looked through for what may go (app.claim_old_notifications_v1).
create index notifications_by_end on app.notifications (finished_at) where status <> 'pending';

-- Who delivers it right now: the lease of one instance, and the fence that only it knows. No state of the notification, and so no event.
-- begun: how often it was begun without an end that anybody heard of.
create table private.notification_leases (
    tenant_id uuid not null,
    notification_id uuid not null,
    fence uuid not null default gen_random_uuid(),
    lease_until timestamptz not null,
    begun integer not null default 1,
    primary key (tenant_id, notification_id),
    foreign key (tenant_id, notification_id) references app.notifications (tenant_id, id)
);
revoke all on private.notification_leases from public;

-- pending -> delivered | dead | cancelled, by whoever delivers; dead | cancelled -> pending, by a person who sends it again. Only a channel
-- in use is told anything, and what ends with its channel is cancelled, whoever ends that. The channel is only looked at, not held: whoever
-- raises an alert within a transaction of many other things waits for nobody who is just changing a channel, and no two of them for each
-- other. An alert that comes while its channel is being ended loses the message, not itself; what slips through between the two is cancelled
-- by whoever would have delivered it. A scheduled function may take out what ended 90 days ago, unless its alert still stands: who was told
-- that it is there is to be told of its end. A resolved alert stays so, and tells nobody anything more.
create function private.guard_notification() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_status text;
begin
    if tg_op = 'DELETE' then
        if old.finished_at is null or old.finished_at > clock_timestamp() - interval '90 days' or exists (select from app.alerts
            where tenant_id = old.tenant_id and id = old.alert_id and status <> 'resolved') then
            perform private.fail(409, 'append_only', 'What was told stays on record for 90 days, and as long as its alert is not resolved.');
        elsif (private.require('notifications.deliver')).tenant_id <> old.tenant_id then
            perform private.fail(403, 'permission_denied', 'It is forgotten in the name of its tenant.');
        end if;
        return old;
    end if;
    select status into v_status from app.channels where tenant_id = new.tenant_id and id = new.channel_id;
    if tg_op = 'INSERT' and pg_trigger_depth() > 1 and v_status is distinct from 'active' then
        return null;
    elsif new.status = 'pending' and (tg_op = 'INSERT' or old.status <> 'pending') and v_status is distinct from 'active' then
        perform private.fail(409, 'channel_not_in_use', 'The channel is not in use; verify or enable it first.');
    elsif tg_op = 'INSERT' then
        if new.status <> 'pending' or new.attempts <> 0 or new.round <> 0 then
            perform private.fail(409, 'invalid_transition', 'A notification begins pending.');
        end if;
        return new;
    elsif old.status = 'pending' and new.status = 'cancelled' and v_status <> 'active' then
        return new;
    elsif old.status in ('dead', 'cancelled') and new.status = 'pending' and new.attempts = old.attempts and new.round = 0 then
        if (private.require('channels.manage')).tenant_id <> new.tenant_id then
            perform private.fail(403, 'people_only', 'Only a person of the tenant sends it again.');
        end if;
    elsif old.status = 'pending' and new.status in ('pending', 'delivered', 'dead') and new.attempts = old.attempts + 1 and new.round = old.round + 1 then
        if (private.require('notifications.deliver')).tenant_id <> new.tenant_id then
            perform private.fail(403, 'permission_denied', 'It is delivered in the name of its tenant.');
        elsif not exists (select from private.notification_leases where tenant_id = new.tenant_id and notification_id = new.id) then
            perform private.fail(409, 'lease_lost', 'Only whoever took it says how it ended.');
        end if;
    else
        perform private.fail(409, 'invalid_transition', 'A notification is delivered, given up or cancelled once; what was given up may be sent again.');
    end if;
    return new;
end
$$;
create trigger notifications_guard before insert or update or delete on app.notifications
    for each row execute function private.guard_notification();
create trigger notifications_keep_columns before update on app.notifications
    for each row execute function private.keep_columns('status', 'attempts', 'round', 'next_attempt_at', 'last_error', 'finished_at');
select private.audit_table('app.notifications', 'notification', 'queued', 'channel_id alert_id event severity attempts', 'last_error');

alter table app.notifications enable row level security;
alter table app.notifications force row level security;
create policy "members read what their tenant's channels were told of their environment" on app.notifications for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (environment is null or (select private.current_environment()) is null or environment = (select private.current_environment())));
grant select on app.notifications to authenticated;

-- A channel that is no longer in use has nothing left to tell: a week-old alarm helps nobody once it is enabled.
create function private.cancel_notifications() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update app.notifications set status = 'cancelled', next_attempt_at = null, finished_at = clock_timestamp(),
        last_error = coalesce(last_error, 'The channel was no longer in use.')
        where tenant_id = new.tenant_id and channel_id = new.id and status = 'pending';
    return null;
end
$$;
create trigger channels_cancel_notifications after update on app.channels
    for each row when (old.status = 'active' and new.status <> 'active') execute function private.cancel_notifications();

-- What is said of an alert: no more than what it is, how bad, whose, and which. Nothing of its detail, which may name people. A title, or
-- then an owner's name, that looks like a credential is left out: neither is a reason to lose the alert.
create function private.alert_content(p_alert app.alerts) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_content jsonb := jsonb_build_object('alert_id', p_alert.id, 'kind', p_alert.kind, 'severity', p_alert.severity,
        'title', p_alert.title, 'environment', p_alert.environment, 'status', p_alert.status, 'occurrences', p_alert.occurrences,
        'raised_at', p_alert.raised_at, 'owner_id', p_alert.owner_id,
        'owner_name', (select nullif(name, '') from app.members where tenant_id = p_alert.tenant_id and user_id = p_alert.owner_id));
begin
    if not private.may_be_shown(v_content || '{"owner_name": null}') then
        v_content := v_content || '{"title": "(withheld)"}';
    end if;
    if not private.may_be_shown(v_content) then
        v_content := v_content || '{"owner_name": null}';
    end if;
    return v_content;
end
$$;

-- Tells one channel of an alert, unless that would be a flood: of one matter, however often it comes and goes, four times an hour; of
-- everything that is at least as bad 60 times an hour, of which the last says that there is more. So no flood of warnings hides what is
-- critical.
create function private.tell_channel(p_channel app.channels, p_alert app.alerts, p_event text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_event text := p_event;
    v_since constant timestamptz := clock_timestamp() - interval '1 hour';
    v_hour integer;
    v_more boolean;
begin
    if (select count(*) from app.notifications n join app.alerts a on a.tenant_id = n.tenant_id and a.id = n.alert_id
        where n.tenant_id = p_channel.tenant_id and n.channel_id = p_channel.id and n.created_at > v_since
            and n.event = 'alert.raised' and a.kind = p_alert.kind and a.subject_type = p_alert.subject_type
            and a.subject_id = p_alert.subject_id) >= 4 and p_event in ('alert.raised', 'alert.resolved') then
        return;  -- the last that was told is that it is there, not that it is over
    end if;
    select count(*), coalesce(bool_or(event = 'alert.more'), false) into v_hour, v_more from app.notifications
        where tenant_id = p_channel.tenant_id and channel_id = p_channel.id and created_at > v_since
            and private.severity_rank(severity) >= private.severity_rank(p_alert.severity);
    if v_hour >= 59 and v_more then
        return;
    elsif v_hour >= 59 then
        v_event := 'alert.more';
    end if;
    insert into app.notifications (tenant_id, channel_id, environment, event, alert_id, severity, content)
    values (p_alert.tenant_id, p_channel.id, p_alert.environment, v_event, p_alert.id, p_alert.severity, private.alert_content(p_alert));
end
$$;

-- Tells every channel that wants it, in the transaction of the alert: that it is there, that it got worse, that it is somebody's now, that
-- it goes on after a day in which nobody took it on, and, to whom it was told before, that it is over. No channel is told of itself.
create function private.tell_of_alert() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_worse boolean := tg_op = 'UPDATE' and private.severity_rank(new.severity) > private.severity_rank(old.severity);
    v_over boolean := tg_op = 'UPDATE' and new.status = 'resolved' and old.status <> 'resolved';
    v_handed boolean := tg_op = 'UPDATE' and new.owner_id is not null and new.owner_id is distinct from old.owner_id and new.status <> 'resolved';
    v_again boolean := tg_op = 'UPDATE' and new.occurrences > old.occurrences and new.status = 'open';
    v_channel app.channels;
    v_told timestamptz;
    v_event text;
begin
    if tg_op = 'UPDATE' and not (v_worse or v_over or v_handed or v_again) then
        return null;
    end if;
    for v_channel in select * from app.channels c where c.tenant_id = new.tenant_id and c.status = 'active' and (v_over
        or (c.environment is null or new.environment is null or c.environment = new.environment)
        and private.severity_rank(c.least_severity) <= private.severity_rank(new.severity)
        and (c.owner_id is null or c.owner_id = new.owner_id)
        and (new.subject_type <> 'channel' or new.subject_id <> c.id::text)) order by c.id loop
        select max(created_at) into v_told from app.notifications
            where tenant_id = new.tenant_id and alert_id = new.id and channel_id = v_channel.id;
        v_event := case
            when tg_op = 'INSERT' then 'alert.raised'
            when v_over then case when v_told is not null then 'alert.resolved' end
            when v_worse then case when v_told is null then 'alert.raised' else 'alert.escalated' end
            when v_handed and v_channel.owner_id is not null then 'alert.assigned'
            when v_again and v_told < clock_timestamp() - interval '1 day' then 'alert.repeated'
        end;
        if v_event is not null then
            perform private.tell_channel(v_channel, new, v_event);
        end if;
    end loop;
    return null;
end
$$;
create trigger alerts_tell_channels after insert or update on app.alerts
    for each row execute function private.tell_of_alert();

-- Notifications that are due, of any tenant, as ids; tenants take turns. No content and no address leaves here.
create function app.claim_due_notifications_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', d.tenant_id, 'id', d.id)), '[]') from (
        select n.tenant_id, n.id from app.notifications n
        left join private.notification_leases l on l.tenant_id = n.tenant_id and l.notification_id = n.id
        where n.status = 'pending' and n.next_attempt_at <= clock_timestamp() and coalesce(l.lease_until <= clock_timestamp(), true)
        order by row_number() over (partition by n.tenant_id order by n.next_attempt_at, n.id), n.next_attempt_at limit p_limit) d
$$;

-- Takes the lease of a notification, and answers all that it takes to send it; {claimed: false} when somebody else has it, or it is over,
-- as it is once its channel is not in use, or when it was begun ten times and nobody said how that ended: it is not sent for ever.
-- The channel is held before its notifications, here as wherever a channel ends. args: {id, lease_seconds}
create function app.claim_notification_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('notifications.deliver');
    v_row app.notifications;
    v_channel app.channels;
    v_lease private.notification_leases;
    v_fence uuid := gen_random_uuid();
begin
    select c.* into v_channel from app.channels c join app.notifications n on n.tenant_id = c.tenant_id and n.channel_id = c.id
        where n.tenant_id = v_principal.tenant_id and n.id = (p_args ->> 'id')::uuid for share of c;
    select * into v_row from app.notifications where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid
        and status = 'pending' and next_attempt_at <= clock_timestamp() for no key update skip locked;
    if not found then
        return jsonb_build_object('claimed', false);
    end if;
    select * into v_lease from private.notification_leases where tenant_id = v_row.tenant_id and notification_id = v_row.id;
    if v_lease.lease_until > clock_timestamp() then
        return jsonb_build_object('claimed', false);
    elsif v_channel.status <> 'active' then
        update app.notifications set status = 'cancelled', next_attempt_at = null, finished_at = clock_timestamp(),
            last_error = coalesce(last_error, 'The channel was no longer in use.') where tenant_id = v_row.tenant_id and id = v_row.id;
        return jsonb_build_object('claimed', false);
    elsif v_lease.begun >= 10 then
        perform private.end_notification(v_row, v_channel, 'dead', 'It was begun ten times, and nothing was heard of how that ended.', null);
        return jsonb_build_object('claimed', false);
    end if;
    insert into private.notification_leases as l (tenant_id, notification_id, fence, lease_until)
    values (v_row.tenant_id, v_row.id, v_fence, clock_timestamp() + make_interval(secs => least(300, (p_args ->> 'lease_seconds')::integer)))
    on conflict (tenant_id, notification_id) do update set fence = excluded.fence, lease_until = excluded.lease_until, begun = l.begun + 1;
    return jsonb_build_object('claimed', true, 'tenant_id', v_row.tenant_id, 'id', v_row.id, 'fence', v_fence, 'round', v_row.round + 1,
        'event', v_row.event, 'content', v_row.content, 'created_at', v_row.created_at, 'channel_id', v_channel.id, 'kind', v_channel.kind,
        'name', v_channel.name, 'target', v_channel.target, 'secrets', private.channel_secrets(v_channel),
        'tenant_name', (select name from app.tenants where tenant_id = v_row.tenant_id));
end
$$;

-- Writes down how a try ended, gives the lease back, and says of the channel what follows from it. No role may execute this.
create function private.end_notification(p_row app.notifications, p_channel app.channels, p_outcome text, p_error text, p_retry integer)
returns app.notifications language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_row app.notifications;
    v_detail constant jsonb := jsonb_build_object('channel', p_channel.name, 'kind', p_channel.kind, 'error', p_error);
    v_owner constant uuid := coalesce(p_channel.owner_id, p_channel.created_by);
begin
    update app.notifications set attempts = attempts + 1, round = round + 1, last_error = p_error,
        status = case p_outcome when 'delivered' then 'delivered' when 'retry' then 'pending' else 'dead' end,
        next_attempt_at = case when p_outcome = 'retry' then clock_timestamp() + make_interval(secs => p_retry) end,
        finished_at = case when p_outcome <> 'retry' then clock_timestamp() end
        where tenant_id = p_row.tenant_id and id = p_row.id returning * into v_row;
    delete from private.notification_leases where tenant_id = v_row.tenant_id and notification_id = v_row.id;
    if p_outcome = 'delivered' then
        perform private.resolve_alert(v_row.tenant_id, 'channel.failing', 'channel', p_channel.id::text, 'It takes messages again.');
    elsif p_outcome = 'gone' then
        update app.channels set status = 'disabled', status_reason = p_error, version = version + 1, updated_at = now()
            where tenant_id = p_channel.tenant_id and id = p_channel.id and status = 'active';
        perform private.raise_alert(v_row.tenant_id, p_channel.environment, 'channel.gone', 'warning', 'channel', p_channel.id::text,
            format('The channel %s is gone and was disabled; alerts are no longer told there.', p_channel.name), v_detail, v_owner);
    elsif p_outcome = 'dead' then
        perform private.raise_alert(v_row.tenant_id, p_channel.environment, 'channel.failing', 'warning', 'channel', p_channel.id::text,
            format('The channel %s does not take what it is told.', p_channel.name), v_detail, v_owner);
    end if;
    return v_row;
end
$$;

-- How a try ended: delivered, retry (in so many seconds), dead, or gone, which disables the channel. What a channel did not take is an alert
-- to whom it tells, by the other channels, and is well again with the next that it takes. A try that was taken over settles nothing. The
-- channel is held first: of many that find it gone at once, one ends it, and the others find that they are over.
-- args: {id, fence, outcome, error?, retry_seconds?}
create function app.settle_notification_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('notifications.deliver');
    v_row app.notifications;
    v_channel app.channels;
    v_outcome text := p_args ->> 'outcome';
    v_retry integer := (p_args ->> 'retry_seconds')::integer;
begin
    if v_outcome is null or v_outcome not in ('delivered', 'retry', 'dead', 'gone') or v_outcome = 'retry' and not coalesce(v_retry between 1 and 172800, false) then
        perform private.fail(422, 'invalid_outcome', 'It is delivered, tried again within two days, given up, or the channel is gone.');
    end if;
    select c.* into v_channel from app.channels c join app.notifications n on n.tenant_id = c.tenant_id and n.channel_id = c.id
        where n.tenant_id = v_principal.tenant_id and n.id = (p_args ->> 'id')::uuid for no key update of c;
    select n.* into v_row from app.notifications n
        join private.notification_leases l on l.tenant_id = n.tenant_id and l.notification_id = n.id
        where n.tenant_id = v_principal.tenant_id and n.id = (p_args ->> 'id')::uuid and n.status = 'pending'
            and l.fence = (p_args ->> 'fence')::uuid for no key update of n;
    if not found then
        perform private.fail(409, 'lease_lost', 'Somebody else has gone on with this notification, or it is over.');
    end if;
    v_row := private.end_notification(v_row, v_channel, v_outcome, left(p_args ->> 'error', 500), v_retry);
    return jsonb_build_object('id', v_row.id, 'status', v_row.status, 'next_attempt_at', v_row.next_attempt_at);
end
$$;

create function private.notification_document(p_row app.notifications) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_row.id, 'channel_id', p_row.channel_id, 'environment', p_row.environment, 'event', p_row.event,
        'alert_id', p_row.alert_id, 'severity', p_row.severity, 'title', p_row.content ->> 'title', 'status', p_row.status,
        'attempts', p_row.attempts, 'next_attempt_at', p_row.next_attempt_at, 'last_error', p_row.last_error,
        'created_at', p_row.created_at, 'finished_at', p_row.finished_at)
$$;

-- A person has it sent once more, under the id that it had, as often as at first. args: {channel_id, id}
create function app.resend_notification_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('channels.manage');
    v_row app.notifications;
begin
    select * into v_row from app.notifications where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid
        and channel_id = (p_args ->> 'channel_id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such delivery.');
    elsif v_row.status not in ('dead', 'cancelled') then
        perform private.fail(409, 'not_given_up', 'Only what was given up or cancelled is sent again.');
    end if;
    update app.notifications set status = 'pending', round = 0, next_attempt_at = clock_timestamp(), finished_at = null
        where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
    return private.notification_document(v_row);
end
$$;

-- Notifications of any tenant that may go, as ids, the oldest first.
create function app.claim_old_notifications_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', d.tenant_id, 'id', d.id)), '[]') from (
        select n.tenant_id, n.id from app.notifications n
        where n.status <> 'pending' and n.finished_at < clock_timestamp() - interval '90 days' and not exists (select from app.alerts a
            where a.tenant_id = n.tenant_id and a.id = n.alert_id and a.status <> 'resolved')
        order by n.finished_at limit p_limit) d
$$;

-- Takes out those of them that may go. args: {ids}. Answers {erased: how many}.
create function app.forget_notifications_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('notifications.deliver');
    v_ids uuid[];
begin
    select array_agg(n.id) into v_ids from (select id from app.notifications o where o.tenant_id = v_principal.tenant_id
        and o.id in (select value::uuid from jsonb_array_elements_text(p_args -> 'ids'))
        and o.status <> 'pending' and o.finished_at < clock_timestamp() - interval '90 days' and not exists (select from app.alerts a
            where a.tenant_id = o.tenant_id and a.id = o.alert_id and a.status <> 'resolved')
        order by o.id for update skip locked) n;
    delete from private.notification_leases where tenant_id = v_principal.tenant_id and notification_id = any (v_ids);
    delete from app.notifications where tenant_id = v_principal.tenant_id and id = any (v_ids);
    return jsonb_build_object('erased', coalesce(cardinality(v_ids), 0));
end
$$;

select private.guard_table('app.alerts');
select private.guard_table('app.channels');
select private.guard_table('app.notifications');
revoke all on all functions in schema app, private from public;
grant execute on function app.claim_due_notifications_v1, app.claim_old_notifications_v1 to countersign_worker;
grant execute on function app.claim_notification_v1, app.settle_notification_v1, app.resend_notification_v1, app.forget_notifications_v1
    to authenticated;
