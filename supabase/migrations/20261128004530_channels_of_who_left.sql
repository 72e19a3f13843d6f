-- Whoever leaves may have been the only one who was told, or may have led a channel to where only they look.

-- As before: channels to the address of who has left, and those for what they answer for, stop. And somebody hears of it: of each of these
-- that was in use, and of each that goes on and was made by who has left, there is an alert, which that channel itself is not told.
create or replace function private.stop_channels_of_member() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_channel app.channels;
    v_theirs boolean;
begin
    for v_channel in select * from app.channels where tenant_id = old.tenant_id and status in ('unverified', 'active')
        and (kind = 'email' and lower(target) = lower(old.email) or owner_id = old.user_id or created_by = old.user_id)
        order by id for no key update loop
        v_theirs := v_channel.kind = 'email' and lower(v_channel.target) = lower(old.email) or coalesce(v_channel.owner_id = old.user_id, false);
        if v_theirs then
            update app.channels set status = 'disabled', status_reason = 'The member whom it tells has left.', version = version + 1,
                updated_at = now() where tenant_id = v_channel.tenant_id and id = v_channel.id;
        end if;
        if v_channel.status = 'active' then
            perform private.raise_alert(v_channel.tenant_id, v_channel.environment, 'channel.member_left', 'warning', 'channel', v_channel.id::text,
                format(case when v_theirs then 'The channel %s told a member who has left, and was disabled; see who is told now.'
                    else 'The channel %s was made by a member who has left; see where it leads.' end, v_channel.name),
                jsonb_build_object('channel', v_channel.name, 'kind', v_channel.kind, 'disabled', v_theirs), private.first_owner(v_channel.tenant_id));
        end if;
    end loop;
    return null;
end
$$;

revoke all on all functions in schema app, private from public;
