-- What is open now, and how long people took for what they decided, in one row.
select
    (select jsonb_build_object('open', count(*), 'mine', count(*) filter (where e.assigned_to = %(user_id)s::uuid),
            'unassigned', count(*) filter (where e.assigned_to is null), 'oldest_at', min(e.created_at), 'next_ends_at', min(e.expires_at),
            'by_severity', jsonb_build_object('critical', count(*) filter (where e.severity = 'critical'), 'high', count(*) filter (where e.severity = 'high'),
                'medium', count(*) filter (where e.severity = 'medium'), 'low', count(*) filter (where e.severity = 'low')))
        from app.exceptions e
        where e.status = 'open' and (%(environment)s::text is null or e.environment = %(environment)s)) as exceptions,
    (select jsonb_build_object('decided', count(*),
            'median_seconds', percentile_cont(0.5) within group (order by extract(epoch from e.decided_at - e.created_at)),
            'p90_seconds', percentile_cont(0.9) within group (order by extract(epoch from e.decided_at - e.created_at)))
        from app.exceptions e
        where e.decided_at >= %(since)s and e.status <> 'expired' and (%(environment)s::text is null or e.environment = %(environment)s)) as time_to_decision,
    (select jsonb_build_object('unknown', count(*) filter (where a.status = 'unknown'), 'dead_letter', count(*) filter (where a.status = 'dead_letter'))
        from app.actions a
        where a.status in ('unknown', 'dead_letter') and (%(environment)s::text is null or a.environment = %(environment)s)) as unsettled,
    (select jsonb_build_object('active', count(*) filter (where c.status = 'active'), 'degraded', count(*) filter (where c.status = 'degraded'),
            'expired', count(*) filter (where c.status = 'expired'),
            'ending', count(*) filter (where c.status = 'active' and c.consent_expires_at < now() + interval '7 days'))
        from app.connections c
        where (%(environment)s::text is null or c.environment = %(environment)s)) as connections,
    (select count(*) from app.kill_switches k where k.status = 'engaged') as kill_switches,
    (select count(*) from app.workflows w
        join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
        cross join lateral (select r.status from app.runs r
            where r.tenant_id = w.tenant_id and r.workflow_id = w.id and r.driven_by = 'loop' and r.finished_at is not null
            order by r.finished_at desc limit 1) last
        where jsonb_typeof(v.spec -> 'loop') = 'object' and last.status = 'failed'
            and (%(environment)s::text is null or w.environment = %(environment)s)) as loops_failing,
    jsonb_build_object(
        'connections', (select count(*) from app.connections c where c.status in ('active', 'degraded')),
        'live_workflows', (select count(*) from app.workflows w where w.live_version is not null),
        'keys', (select count(*) from app.api_keys k where k.revoked_at is null),
        'actions', exists (select from app.actions)) as setup
