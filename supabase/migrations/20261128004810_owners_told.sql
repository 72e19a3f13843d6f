-- That a channel takes nothing is told by the other channels. Where there is none that takes it, the owners are mailed: once for an alert,
-- and of three alerts of a tenant a day at most. What is mailed is what a mail channel would be told, and no more.

-- What owners were mailed of: tries, and when the next may be made; told_at: a mail was taken, or nobody's ever will be. No state of the
-- alert, and so no event.
create table private.owner_mails (
    tenant_id uuid not null,
    alert_id uuid not null,
    tries integer not null default 1,
    first_at timestamptz not null default clock_timestamp(),
    again_at timestamptz not null,
    told_at timestamptz,
    primary key (tenant_id, alert_id),
    foreign key (tenant_id, alert_id) references app.alerts (tenant_id, id)
);
create index owner_mails_by_time on private.owner_mails (tenant_id, first_at);
revoke all on private.owner_mails from public;

create index alerts_of_channels on app.alerts (raised_at) where status = 'open' and subject_type = 'channel';

-- Whether the owners are to be mailed of it now: a channel has stopped, nobody is on it, no channel was told or may still be (one that has
-- refused three times is not waited for), and it was not mailed yet, nor tried ten times or a moment ago, nor were too many others today.
create function private.is_unheard(p_alert app.alerts) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select p_alert.status = 'open' and p_alert.kind in ('channel.failing', 'channel.gone', 'channel.member_left')
        and not exists (select from app.notifications where tenant_id = p_alert.tenant_id and alert_id = p_alert.id
            and (status = 'delivered' or status = 'pending' and attempts < 3))
        and coalesce((select told_at is null and tries < 10 and again_at <= clock_timestamp() from private.owner_mails
                where tenant_id = p_alert.tenant_id and alert_id = p_alert.id),
            (select count(*) < 3 from private.owner_mails
                where tenant_id = p_alert.tenant_id and first_at > clock_timestamp() - interval '1 day'))
$$;

-- Alerts of any tenant of which the owners are to be mailed, as ids. No content and no address leaves here.
create function app.claim_unheard_alerts_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', d.tenant_id, 'id', d.id)), '[]') from (
        select a.tenant_id, a.id from app.alerts a where a.status = 'open' and a.subject_type = 'channel' and private.is_unheard(a)
        order by a.raised_at limit p_limit) d
$$;

-- Takes it on for so many seconds, and answers what to mail to whom: the five owners who have been there longest. {claimed: false} when
-- somebody else has it, or it needs no mail any more. args: {id, again_seconds}
create function app.tell_owners_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('notifications.deliver');
    v_alert app.alerts;
begin
    select * into v_alert from app.alerts where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid;
    if not found or not private.is_unheard(v_alert) then
        return jsonb_build_object('claimed', false);
    end if;
    insert into private.owner_mails as m (tenant_id, alert_id, again_at)
    values (v_alert.tenant_id, v_alert.id, clock_timestamp() + make_interval(secs => greatest(60, (p_args ->> 'again_seconds')::integer)))
    on conflict (tenant_id, alert_id) do update set tries = m.tries + 1, again_at = excluded.again_at
        where m.told_at is null and m.again_at <= clock_timestamp();
    if not found then
        return jsonb_build_object('claimed', false);
    end if;
    return jsonb_build_object('claimed', true, 'content', private.alert_content(v_alert), 'raised_at', v_alert.raised_at,
        'tenant_name', (select name from app.tenants where tenant_id = v_alert.tenant_id),
        'owners', (select coalesce(jsonb_agg(o.email), '[]') from (select email from app.members
            where tenant_id = v_alert.tenant_id and role = 'owner' order by created_at, user_id limit 5) o));
end
$$;

-- A mail was taken, or nobody's ever will be: it is over. args: {id}
create function app.owners_told_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('notifications.deliver');
begin
    update private.owner_mails set told_at = clock_timestamp()
        where tenant_id = v_principal.tenant_id and alert_id = (p_args ->> 'id')::uuid and told_at is null;
    return jsonb_build_object('recorded', found);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_unheard_alerts_v1 to countersign_worker;
grant execute on function app.tell_owners_v1, app.owners_told_v1 to authenticated;
