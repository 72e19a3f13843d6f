-- The tenant's kill switches, newest first, each with how many actions it holds, how many had left, and what waits to be done by hand. The
-- actions are counted once, by all that a switch can name (private.covers), and not for each switch anew.
with held as materialized (
    select a.status = 'executing' as away, a.workflow_id, a.connection_id, a.tool, a.proposed_by_kind, a.proposed_by, count(*) as actions
    from app.actions a
    where a.status in ('awaiting_approval', 'authorized', 'executing')
    group by 1, 2, 3, 4, 5, 6
), manual as materialized (
    select e.kill_switch_id, count(*) as exceptions from app.exceptions e where e.status = 'open' and e.kill_switch_id is not null group by 1
)
select k.id, k.scope, k.target, k.status, k.stage, k.staged_at, k.reason, k.engaged_at, k.released_at,
    coalesce((select m.exceptions from manual m where m.kill_switch_id = k.id), 0) as manual, c.stopped, c.in_flight
from app.kill_switches k
cross join lateral (
    select coalesce(sum(h.actions) filter (where not h.away), 0)::bigint as stopped, coalesce(sum(h.actions) filter (where h.away), 0)::bigint as in_flight
    from held h
    where case k.scope when 'tenant' then true when 'workflow' then h.workflow_id::text = k.target
        when 'connection' then h.connection_id::text = k.target when 'tool' then h.tool = k.target
        when 'service_account' then h.proposed_by_kind = 'service' and h.proposed_by::text = k.target end) c
order by k.engaged_at desc
