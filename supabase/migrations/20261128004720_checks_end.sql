-- What channels were tried with is kept for 90 days, with the addresses that were written to; the log keeps that it was tried, and by whom,
-- and from now on not with which address: the channel's own record has it.

create index channel_checks_by_age on app.channel_checks (at);

-- As before, but that a scheduled function may take out what is 90 days old: nothing looks back further than a day. Still nothing changes.
create or replace function private.guard_channel_check() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
begin
    if tg_op = 'UPDATE' or tg_op = 'DELETE' and old.at > clock_timestamp() - interval '90 days' then
        perform private.fail(409, 'append_only', 'What a channel was tried with stays as it was for 90 days.');
    elsif tg_op = 'DELETE' then
        if (private.require('notifications.deliver')).tenant_id <> old.tenant_id then
            perform private.fail(403, 'permission_denied', 'It is forgotten in the name of its tenant.');
        end if;
        return old;
    end if;
    v_principal := private.require('channels.manage');
    if v_principal.tenant_id <> new.tenant_id or v_principal.kind <> 'user' or new.asked_by <> v_principal.id
        or abs(extract(epoch from clock_timestamp() - new.at)) > 60 then
        perform private.fail(403, 'people_only', 'A person of the tenant asks for it, now, in their own name.');
    end if;
    return new;
end
$$;
drop trigger refuse_change on app.channel_checks;
drop trigger channel_checks_guard on app.channel_checks;
create trigger channel_checks_guard before insert or update or delete on app.channel_checks
    for each row execute function private.guard_channel_check();
drop trigger zz_audit_change on app.channel_checks;
select private.audit_table('app.channel_checks', 'channel_check', 'sent', 'channel_id kind generation');
select private.guard_table('app.channel_checks');

-- Checks of any tenant that may go, as ids, the oldest first.
create function app.claim_old_channel_checks_v1(p_limit integer) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('tenant_id', c.tenant_id, 'id', c.id)), '[]') from (
        select tenant_id, id from app.channel_checks where at < clock_timestamp() - interval '90 days' order by at limit p_limit) c
$$;

-- Takes out those of them that may go. args: {ids}. Answers {erased: how many}.
create function app.forget_channel_checks_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('notifications.deliver');
    v_count integer;
begin
    delete from app.channel_checks c where c.tenant_id = v_principal.tenant_id and c.at < clock_timestamp() - interval '90 days'
        and c.id in (select k.id from app.channel_checks k where k.tenant_id = v_principal.tenant_id
            and k.id in (select value::uuid from jsonb_array_elements_text(p_args -> 'ids')) order by k.id for update skip locked);
    get diagnostics v_count = row_count;
    return jsonb_build_object('erased', v_count);
end
$$;

revoke all on all functions in schema app, private from public;
grant execute on function app.claim_old_channel_checks_v1 to countersign_worker;
grant execute on function app.forget_channel_checks_v1 to authenticated;
