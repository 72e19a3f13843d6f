-- Changes, newest first, after the given key. What nobody decided in time has expired, whether or not anybody noted it.
select * from (
    select id, environment, kind, entry_id, base_version, digest, payload::jsonb as proposal, reason, evidence,
        case when status = 'open' and expires_at <= now() then 'expired' else status end as status,
        jsonb_build_object('kind', h.proposed_by_kind, 'id', h.proposed_by, 'name', coalesce(
            (select m.name from app.members m where m.tenant_id = h.tenant_id and m.user_id = h.proposed_by),
            (select s.name from app.service_accounts s where s.tenant_id = h.tenant_id and s.id = h.proposed_by))) as proposed_by,
        decided_by,
        (select m.name from app.members m where m.tenant_id = h.tenant_id and m.user_id = h.decided_by) as decided_by_name, decided_at, decision_reason, expires_at, created_at
    from app.directory_changes h) c
where (%(status)s::text is null or status = %(status)s)
    and (%(id)s::uuid is null or id = %(id)s)
    and (%(after_at)s::timestamptz is null or (created_at, id) < (%(after_at)s, %(after_id)s))
order by created_at desc, id desc
limit %(limit)s
