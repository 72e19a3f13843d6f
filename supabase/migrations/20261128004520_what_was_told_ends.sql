-- What channels were told is kept for 90 days after it ended, with titles and names as they were then; the log keeps that it was told.

-- What ended, the oldest first: what is looked through for what may go.
create index notifications_by_end on app.notifications (finished_at) where status <> 'pending';

-- As before, but that a scheduled function may take out what ended 90 days ago, unless its alert still stands: who was told that it is
-- there is to be told of its end. A resolved alert stays so, and tells nobody anything more.
create or replace function private.guard_notification() returns trigger
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

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_old_notifications_v1 to countersign_worker;
grant execute on function app.forget_notifications_v1 to authenticated;
