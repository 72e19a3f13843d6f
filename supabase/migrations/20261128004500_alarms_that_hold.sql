-- What is told of an alert never undoes the alert, waits for nobody who changes a channel, and is not hidden by what is less bad.

-- How often it was begun without an end that anybody heard of.
alter table private.notification_leases add column begun integer not null default 1;

-- As before, but for two things. The channel is only looked at, not held: whoever raises an alert within a transaction of many other things
-- waits for nobody who is just changing a channel, and no two of them for each other. And an alert that comes while its channel is being
-- ended loses the message, not itself. What slips through between the two is cancelled by whoever would have delivered it.
create or replace function private.guard_notification() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_status text;
begin
    if tg_op = 'DELETE' then
        perform private.fail(409, 'append_only', 'What was told stays on record.');
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

-- Tells one channel of an alert, unless that would be a flood: of one matter, however often it comes and goes, four times an hour; of
-- everything that is at least as bad 60 times an hour, of which the last says that there is more. So no flood of warnings hides what is
-- critical. A title, or then an owner's name, that looks like a credential is left out: neither is a reason to lose the alert.
create or replace function private.tell_channel(p_channel app.channels, p_alert app.alerts, p_event text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_event text := p_event;
    v_content jsonb := private.alert_content(p_alert);
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
    if not private.may_be_shown(v_content || '{"owner_name": null}') then
        v_content := v_content || '{"title": "(withheld)"}';
    end if;
    if not private.may_be_shown(v_content) then
        v_content := v_content || '{"owner_name": null}';
    end if;
    insert into app.notifications (tenant_id, channel_id, environment, event, alert_id, severity, content)
    values (p_alert.tenant_id, p_channel.id, p_alert.environment, v_event, p_alert.id, p_alert.severity, v_content);
end
$$;

-- Takes the lease of a notification, and answers all that it takes to send it; {claimed: false} when somebody else has it, or it is over,
-- as it is once its channel is not in use, or when it was begun ten times and nobody said how that ended: it is not sent for ever.
-- The channel is held before its notifications, here as wherever a channel ends. args: {id, lease_seconds}
create or replace function app.claim_notification_v1(p_args jsonb) returns jsonb
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
create or replace function app.settle_notification_v1(p_args jsonb) returns jsonb
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

revoke all on all functions in schema app, private from public;
