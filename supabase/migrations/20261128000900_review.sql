-- What a review of limits and amendments changed.

-- Whether an action that has ended may have happened all the same: its tool is executed by the tenant's own client, which was told
-- that it might, and nobody has told us whether it did.
create function private.client_may_have_acted(p_action app.actions) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from app.tenant_tools where tenant_id = p_action.tenant_id and name = p_action.tool
            and version = p_action.contract_version)
        and (exists (select from app.exceptions where tenant_id = p_action.tenant_id and action_id = p_action.id and status = 'approved')
            or exists (select from app.decisions where tenant_id = p_action.tenant_id and action_id = p_action.id and outcome = 'allow'))
$$;

-- As it was; and what a client may have done counts until the window has passed, so that a limit is not emptied by cancelling,
-- or by waiting for authorizations to end.
create or replace function private.limit_state(p_tenant uuid, p_key text, p_window_seconds integer, p_except uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object('amount', coalesce(sum(r.amount), 0), 'count', coalesce(sum(r.count), 0))
    from app.limit_reservations r
    join app.actions a on a.tenant_id = r.tenant_id and a.id = r.action_id
    where r.tenant_id = p_tenant and r.key = p_key and r.action_id is distinct from p_except
        and r.created_at > clock_timestamp() - make_interval(secs => p_window_seconds)
        and (a.status not in ('denied', 'rejected', 'expired', 'superseded', 'cancelled', 'failed')
            or a.status in ('expired', 'cancelled') and private.client_may_have_acted(a))
        and not (r.over and a.status = 'awaiting_approval')
$$;

-- As it was; and whoever adopts has seen what people decided against since the rule was tried, of what the rule is for.
create or replace function private.require_adoption(p_row app.amendments) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_tried timestamptz;
begin
    -- Of the row as it is: while an amendment waits, only a backtest changes it.
    select updated_at into v_tried from app.amendments where tenant_id = p_row.tenant_id and id = p_row.id;
    if p_row.kind = 'loosen' and p_row.decided_by = p_row.proposed_by then
        perform private.fail(409, 'second_person_needed', 'This lets more happen without a person, so somebody else adopts it.');
    elsif p_row.kind = 'loosen' and p_row.backtest_version is distinct from p_row.constitution_version - 1 then
        perform private.fail(409, 'backtest_outdated', 'The constitution has changed since this was tried; run the backtest again.');
    elsif p_row.kind = 'loosen' and exists (select from app.exceptions e
        where e.tenant_id = p_row.tenant_id and e.decided_at > v_tried and e.status in ('rejected', 'edited')
            and e.class -> 'tool' = p_row.rule #> '{applies_to,0}' and e.class -> 'workflow' = p_row.rule #> '{bounds,workflows,0}') then
        perform private.fail(409, 'backtest_outdated', 'A person has decided against something like this since it was tried; '
            'run the backtest again.');
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

revoke all on all functions in schema app, private from public;
