-- One entry with its details as of now, what waits, and every approved change.
select e.id, e.environment, e.kind, e.name, e.status, e.version, e.created_at, e.updated_at, c.decided_by as checked_by,
    jsonb_build_object('kind', c.proposed_by_kind, 'id', c.proposed_by, 'name', coalesce(
        (select m.name from app.members m where m.tenant_id = c.tenant_id and m.user_id = c.proposed_by),
        (select s.name from app.service_accounts s where s.tenant_id = c.tenant_id and s.id = c.proposed_by))) as made_by,
    (select coalesce(jsonb_agg(d.value || jsonb_build_object('trusted_from', d.trusted_from,
            'state', case when d.trusted_from <= now() then 'trusted' else 'cooling_off' end, 'change_id', d.change_id)
            order by d.type, d.key), '[]')
        from app.directory_details d where d.tenant_id = e.tenant_id and d.entry_id = e.id and d.status = 'active') as details,
    (select max(d.trusted_from) from app.directory_details d where d.tenant_id = e.tenant_id and d.entry_id = e.id
        and d.status = 'active' and d.trusted_from > now()) as cooling_off_until,
    (select o.id from app.directory_changes o where o.tenant_id = e.tenant_id and o.entry_id = e.id and o.status = 'open'
        and o.expires_at > now()) as open_change,
    (select coalesce(jsonb_agg(jsonb_build_object('id', h.id, 'environment', h.environment, 'kind', h.kind, 'entry_id', h.entry_id,
            'base_version', h.base_version, 'status', h.status, 'digest', h.digest, 'proposal', h.payload::jsonb, 'reason', h.reason,
            'evidence', h.evidence, 'proposed_by', jsonb_build_object('kind', h.proposed_by_kind, 'id', h.proposed_by, 'name', coalesce(
                (select m.name from app.members m where m.tenant_id = h.tenant_id and m.user_id = h.proposed_by),
                (select s.name from app.service_accounts s where s.tenant_id = h.tenant_id and s.id = h.proposed_by))),
            'decided_by', h.decided_by,
            'decided_by_name', (select m.name from app.members m where m.tenant_id = h.tenant_id and m.user_id = h.decided_by), 'decided_at', h.decided_at, 'decision_reason', h.decision_reason,
            'expires_at', h.expires_at, 'created_at', h.created_at) order by h.base_version desc), '[]')
        from app.directory_changes h where h.tenant_id = e.tenant_id and h.entry_id = e.id and h.status = 'approved') as history
from app.directory_entries e
join app.directory_changes c on c.tenant_id = e.tenant_id and c.id = e.change_id
where e.id = %(id)s
