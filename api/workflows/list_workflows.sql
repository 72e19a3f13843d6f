-- The tenant's workflows, each with the stage, tools, retention and limits of its live version, its newest version, how many kill
-- switches stop all of it, and how many of the connections that its live version names cannot be used.
select w.id, w.slug, w.environment, w.title, w.live_version, w.created_at,
    v.spec ->> 'stage' as stage,
    coalesce((select jsonb_agg(t order by t) from jsonb_object_keys(v.spec -> 'tools') t), '[]') as tools,
    case when w.live_version is not null then jsonb_build_object('days', coalesce((v.spec ->> 'retention_days')::integer, 365),
        'by_class', coalesce(v.spec -> 'retention', '{}')) end as retention,
    coalesce(v.spec -> 'limits', '[]') as limits,
    n.version as newest_version, n.status as newest_status,
    (select count(*) from app.kill_switches k where k.tenant_id = w.tenant_id and k.status = 'engaged'
        and ((k.scope = 'tenant') or (k.scope = 'workflow' and k.target = w.id::text))) as stopped_by,
    (select count(*) from jsonb_each(v.spec -> 'connections') p, jsonb_each_text(p.value) b
        where b.value is not null and not exists (select from app.connections c
            where c.tenant_id = w.tenant_id and c.id = b.value::uuid and c.status = 'active')) as connections_down
from app.workflows w
left join app.workflow_versions v on v.tenant_id = w.tenant_id and v.workflow_id = w.id and v.version = w.live_version
left join lateral (select r.version, r.status from app.workflow_reviews r
    where r.tenant_id = w.tenant_id and r.workflow_id = w.id order by r.version desc limit 1) n on true
order by w.created_at desc, w.id desc
limit 200
