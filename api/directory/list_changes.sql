-- Changes, newest first, after the given key. What nobody decided in time has expired, whether or not anybody noted it.
select * from (
    select id, environment, kind, entry_id, base_version, digest, payload::jsonb as proposal, reason, evidence,
        case when status = 'open' and expires_at <= now() then 'expired' else status end as status,
        jsonb_build_object('kind', proposed_by_kind, 'id', proposed_by) as proposed_by,
        decided_by, decided_at, decision_reason, expires_at, created_at
    from app.directory_changes) c
where (%(status)s::text is null or status = %(status)s)
    and (%(id)s::uuid is null or id = %(id)s)
    and (%(after_at)s::timestamptz is null or (created_at, id) < (%(after_at)s, %(after_id)s))
order by created_at desc, id desc
limit %(limit)s
