-- Channels: what people do with them, how they prove themselves, and what ends them.

-- As it is shown: nothing of a secret but which one it is.
create function private.channel_document(p_row app.channels) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('id', p_row.id, 'environment', p_row.environment, 'kind', p_row.kind, 'name', p_row.name, 'target', p_row.target,
        'least_severity', p_row.least_severity, 'owner_id', p_row.owner_id,
        'owner_name', (select coalesce(nullif(name, ''), email) from app.members where tenant_id = p_row.tenant_id and user_id = p_row.owner_id),
        'status', p_row.status, 'status_reason', p_row.status_reason,
        'secret_generation', case when p_row.kind <> 'email' then p_row.generation end, 'previous_until', p_row.previous_until,
        'verified_at', p_row.verified_at, 'etag', p_row.version::text, 'created_by', p_row.created_by, 'created_at', p_row.created_at,
        'updated_at', p_row.updated_at)
$$;

-- Where the sealed secret of a generation is kept; null of a mail address, which has none.
create function private.keep_channel_secret(p_channel uuid, p_generation integer, p_envelope text) returns uuid
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select case when p_envelope is not null then
        vault.create_secret(p_envelope, 'countersign/channel/' || p_channel || '/' || p_generation, 'sealed secret of a channel') end
$$;

-- The channel that a person manages, held until the end: 404 when there is none, 409 once it is deleted.
create function private.managed_channel(p_principal private.principal, p_id uuid) returns app.channels
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_row app.channels;
begin
    select * into v_row from app.channels where tenant_id = p_principal.tenant_id and id = p_id for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such channel.');
    elsif v_row.status = 'deleted' then
        perform private.fail(409, 'channel_deleted', 'The channel is deleted; make another.');
    end if;
    return v_row;
end
$$;

-- Refuses an owner who is no member.
create function private.require_member(p_tenant uuid, p_user uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_user is not null and not exists (select from app.members where tenant_id = p_tenant and user_id = p_user) then
        perform private.fail(422, 'not_a_member', 'Only a member of this organisation can answer for alerts.');
    end if;
end
$$;

-- Makes a channel, unverified. args: {id, kind, name, target, environment?, least_severity, owner_id?, envelope?}
create function app.create_channel_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('channels.manage');
    v_row app.channels;
begin
    perform private.require_member(v_principal.tenant_id, (p_args ->> 'owner_id')::uuid);
    if (select count(*) from app.channels where tenant_id = v_principal.tenant_id and status <> 'deleted') >= 50 then
        perform private.fail(409, 'too_many_channels', 'There are 50 channels; delete one first.');
    end if;
    insert into app.channels (tenant_id, id, environment, kind, name, target, least_severity, owner_id, secret_id, created_by)
    values (v_principal.tenant_id, (p_args ->> 'id')::uuid, p_args ->> 'environment', p_args ->> 'kind', p_args ->> 'name', p_args ->> 'target',
        p_args ->> 'least_severity', (p_args ->> 'owner_id')::uuid,
        private.keep_channel_secret((p_args ->> 'id')::uuid, 1, p_args ->> 'envelope'), v_principal.id)
    returning * into v_row;
    return private.channel_document(v_row);
end
$$;

-- Changes what a channel is told, not where it leads. What is named is changed, to null as well.
-- args: {id, if_match, name?, environment?, least_severity?, owner_id?}
create function app.change_channel_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('channels.manage');
    v_row app.channels := private.managed_channel(v_principal, (p_args ->> 'id')::uuid);
begin
    if jsonb_typeof(p_args -> 'if_match') = 'array' and not p_args -> 'if_match' ? v_row.version::text then
        perform private.fail(412, 'precondition_failed', 'The channel has changed meanwhile; load it again.');
    end if;
    perform private.require_member(v_row.tenant_id, (p_args ->> 'owner_id')::uuid);
    update app.channels set version = version + 1, updated_at = now(), name = coalesce(p_args ->> 'name', name),
        least_severity = coalesce(p_args ->> 'least_severity', least_severity),
        environment = case when p_args ? 'environment' then p_args ->> 'environment' else environment end,
        owner_id = case when p_args ? 'owner_id' then (p_args ->> 'owner_id')::uuid else owner_id end
        where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
    return private.channel_document(v_row);
end
$$;

-- Begins to prove or to try a channel: counts what is sent, refuses what is too much, and keeps the digest of a mailed code. A mail
-- address that has not proved itself gets codes only. args: {id, check_id, code_hash?}. Answers {check_id, kind}.
create function app.begin_channel_check_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('channels.manage');
    v_row app.channels := private.managed_channel(v_principal, (p_args ->> 'id')::uuid);
    v_code text := p_args ->> 'code_hash';
    v_full timestamptz;
begin
    perform pg_advisory_xact_lock(hashtextextended('channel checks of ' || v_row.tenant_id, 20261128));
    if v_row.status = 'disabled' then
        perform private.fail(409, 'channel_disabled', 'The channel is disabled; enable it first.');
    elsif v_code is not null and (v_row.kind <> 'email' or v_row.verified_at is not null) then
        perform private.fail(409, 'channel_verified', 'This channel needs no code.');
    elsif v_code is null and v_row.kind = 'email' and v_row.verified_at is null then
        perform private.fail(409, 'channel_unverified', 'Enter the code that was mailed first.');
    end if;
    select at into v_full from app.channel_checks where tenant_id = v_row.tenant_id and channel_id = v_row.id order by at desc offset 9 limit 1;
    if v_full > clock_timestamp() - interval '1 hour' then
        perform private.fail_until(v_full + interval '1 hour', 'too_many_checks', 'A channel is tried ten times an hour at most.');
    end if;
    select at into v_full from app.channel_checks where tenant_id = v_row.tenant_id order by at desc offset 49 limit 1;
    if v_full > clock_timestamp() - interval '1 day' then
        perform private.fail_until(v_full + interval '1 day', 'too_many_checks', 'An organisation tries its channels 50 times a day at most.');
    end if;
    if v_code is not null then
        select at into v_full from app.channel_checks where kind = 'code' and address = v_row.target order by at desc offset 4 limit 1;
        if v_full > clock_timestamp() - interval '1 day' then
            perform private.fail_until(v_full + interval '1 day', 'too_many_codes', 'An address is mailed five codes a day at most.');
        end if;
    end if;
    insert into app.channel_checks (tenant_id, id, channel_id, environment, kind, address, generation, asked_by)
    values (v_row.tenant_id, (p_args ->> 'check_id')::uuid, v_row.id, v_row.environment, case when v_code is null then 'message' else 'code' end,
        v_row.target, v_row.generation, v_principal.id);
    if v_code is not null then
        update app.channels set code_hash = v_code, code_until = clock_timestamp() + interval '15 minutes', code_tries = 0, updated_at = now()
            where tenant_id = v_row.tenant_id and id = v_row.id;
    end if;
    return jsonb_build_object('check_id', p_args ->> 'check_id', 'kind', case when v_code is null then 'message' else 'code' end);
end
$$;

-- The sealed secrets that messages are sent with now: its own, and the one before while that is good.
create function private.channel_secrets(p_row app.channels) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object('generation', k.generation, 'envelope', s.decrypted_secret) order by k.generation desc), '[]')
    from (values (p_row.generation, p_row.secret_id),
        (p_row.generation - 1, case when p_row.previous_until > clock_timestamp() then p_row.previous_secret_id end)) as k (generation, secret_id)
    join vault.decrypted_secrets s on s.id = k.secret_id
$$;

-- What is sent with, for the newest check of a channel, to the person who began it. args: {id, check_id}
create function app.open_channel_v1(p_args jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('channels.manage');
    v_row app.channels;
begin
    select c.* into v_row from app.channels c join app.channel_checks k on k.tenant_id = c.tenant_id and k.channel_id = c.id
        where c.tenant_id = v_principal.tenant_id and c.id = (p_args ->> 'id')::uuid and k.id = (p_args ->> 'check_id')::uuid
            and k.asked_by = v_principal.id and c.status in ('unverified', 'active') and not exists (select from app.channel_checks n
                where n.tenant_id = k.tenant_id and n.channel_id = k.channel_id and n.at > k.at);
    if not found then
        perform private.fail(404, 'not_found', 'There is no such check of a channel, or it is over.');
    end if;
    return jsonb_build_object('tenant_id', v_row.tenant_id, 'id', v_row.id, 'kind', v_row.kind, 'name', v_row.name, 'target', v_row.target,
        'tenant_name', (select name from app.tenants where tenant_id = v_row.tenant_id), 'at', clock_timestamp(),
        'secrets', private.channel_secrets(v_row));
end
$$;

-- Takes a channel into use: by the code that was mailed, or by a message that was taken. A wrong code is counted, and the fifth was the
-- last. args: {id, code_hash?}. Answers {verified, channel, tries_left?}.
create function app.verify_channel_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('channels.manage');
    v_row app.channels := private.managed_channel(v_principal, (p_args ->> 'id')::uuid);
    v_right boolean;
begin
    if v_row.status = 'disabled' then
        perform private.fail(409, 'channel_disabled', 'The channel is disabled; enable it first.');
    elsif v_row.verified_at is null then
        v_right := v_row.kind <> 'email' or coalesce(v_row.code_hash = p_args ->> 'code_hash', false);
        if v_row.kind = 'email' and not coalesce(v_row.code_until > clock_timestamp() and v_row.code_tries < 5, false) then
            perform private.fail(409, 'code_expired', 'The code is over; have a new one mailed.');
        elsif v_right then
            update app.channels set status = 'active', status_reason = null, verified_at = clock_timestamp(), verified_by = v_principal.id,
                code_hash = null, code_until = null, version = version + 1, updated_at = now()
                where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
        else
            update app.channels set code_tries = code_tries + 1, updated_at = now()
                where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
            return jsonb_build_object('verified', false, 'tries_left', 5 - v_row.code_tries);
        end if;
    end if;
    return jsonb_build_object('verified', true, 'channel', private.channel_document(v_row));
end
$$;

-- A new secret. A webhook's secret before stays good for some hours; Slack's new address is verified before it is used.
-- args: {id, generation, envelope, overlap_hours}
create function app.rotate_channel_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('channels.manage');
    v_old app.channels := private.managed_channel(v_principal, (p_args ->> 'id')::uuid);
    v_row app.channels;
    v_hours integer := case when v_old.kind = 'webhook' then coalesce((p_args ->> 'overlap_hours')::integer, 24) else 0 end;
begin
    if v_old.kind = 'email' then
        perform private.fail(409, 'no_secret', 'A mail address has no secret; make another channel for another address.');
    elsif (p_args ->> 'generation')::integer is distinct from v_old.generation + 1 then
        perform private.fail(409, 'generation_moved', 'Somebody else has rotated the secret meanwhile; look again.');
    end if;
    update app.channels set generation = v_old.generation + 1, version = version + 1, updated_at = now(),
        secret_id = private.keep_channel_secret(v_old.id, v_old.generation + 1, p_args ->> 'envelope'),
        previous_secret_id = case when v_hours > 0 then v_old.secret_id end,
        previous_until = case when v_hours > 0 then clock_timestamp() + make_interval(hours => v_hours) end,
        status = case when v_old.kind = 'slack' and v_old.status = 'active' then 'unverified' else v_old.status end,
        verified_at = case when v_old.kind = 'webhook' then v_old.verified_at end,
        verified_by = case when v_old.kind = 'webhook' then v_old.verified_by end
        where tenant_id = v_old.tenant_id and id = v_old.id returning * into v_row;
    delete from vault.secrets where id = v_old.previous_secret_id or id = v_old.secret_id and v_hours <= 0;
    return private.channel_document(v_row);
end
$$;

-- Stops a channel until it is enabled; once more changes nothing. args: {id, reason}
create function app.disable_channel_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('channels.manage');
    v_row app.channels := private.managed_channel(v_principal, (p_args ->> 'id')::uuid);
begin
    if v_row.status <> 'disabled' then
        update app.channels set status = 'disabled', status_reason = left(p_args ->> 'reason', 500), version = version + 1, updated_at = now()
            where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
    end if;
    return private.channel_document(v_row);
end
$$;

-- Lets a channel go on, which has proved itself before or does so now. args: {id}
create function app.enable_channel_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('channels.manage');
    v_row app.channels := private.managed_channel(v_principal, (p_args ->> 'id')::uuid);
begin
    if v_row.status = 'disabled' then
        update app.channels set status = case when verified_at is null then 'unverified' else 'active' end, status_reason = null,
            version = version + 1, updated_at = now()
            where tenant_id = v_row.tenant_id and id = v_row.id returning * into v_row;
        perform private.resolve_alert(v_row.tenant_id, null, 'channel', v_row.id::text, 'It was enabled again.');
    end if;
    return private.channel_document(v_row);
end
$$;

-- Ends a channel for good: its secrets are destroyed, its record stays; once more changes nothing. args: {id}
create function app.delete_channel_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('channels.manage');
    v_old app.channels;
    v_row app.channels;
begin
    select * into v_old from app.channels where tenant_id = v_principal.tenant_id and id = (p_args ->> 'id')::uuid for no key update;
    if not found then
        perform private.fail(404, 'not_found', 'There is no such channel.');
    elsif v_old.status = 'deleted' then
        return private.channel_document(v_old);
    end if;
    update app.channels set status = 'deleted', status_reason = null, secret_id = null, previous_secret_id = null, previous_until = null,
        code_hash = null, code_until = null, version = version + 1, updated_at = now()
        where tenant_id = v_old.tenant_id and id = v_old.id returning * into v_row;
    delete from vault.secrets where id in (v_old.secret_id, v_old.previous_secret_id);
    perform private.resolve_alert(v_row.tenant_id, null, 'channel', v_row.id::text, 'It was deleted.');
    return private.channel_document(v_row);
end
$$;

-- Who has left is told nothing more: channels to their address, and those for what they answer for, stop. And somebody hears of it, for they
-- may have been the only one who was told, or may have led a channel to where only they look: of each of these that was in use, and of each
-- that goes on and was made by who has left, there is an alert, which that channel itself is not told.
create function private.stop_channels_of_member() returns trigger
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
create trigger members_stop_channels after delete on app.members
    for each row execute function private.stop_channels_of_member();

select private.guard_table('app.members');
revoke all on all functions in schema app, private from public;
grant execute on function app.create_channel_v1, app.change_channel_v1, app.begin_channel_check_v1, app.open_channel_v1, app.verify_channel_v1,
    app.rotate_channel_v1, app.disable_channel_v1, app.enable_channel_v1, app.delete_channel_v1 to authenticated;
