-- Runs that are not erased, newest first, with everything in which somebody can be found.
select r.id, r.created_at, r.instruction, r.subject,
    jsonb_build_object('tenant_id', r.tenant_id, 'run_id', r.id,
        'keys', (select k.keys from app.run_keys k where k.tenant_id = r.tenant_id and k.run_id = r.id)) as keys,
    (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'args', o.args, 'result', o.result)), '[]')
        from app.observations o where o.tenant_id = r.tenant_id and o.run_id = r.id and o.erased_at is null) as observations,
    (select coalesce(jsonb_agg(jsonb_build_object('args', a.payload::jsonb -> 'args', 'rationale', a.rationale, 'subject', a.subject)), '[]')
        from app.actions a where a.tenant_id = r.tenant_id and a.run_id = r.id) as actions,
    (select coalesce(jsonb_agg(jsonb_build_object('response', t.response)), '[]')
        from app.attempts t where t.tenant_id = r.tenant_id and t.run_id = r.id) as attempts
from app.runs r
where r.erased_at is null and (%(before)s::timestamptz is null or r.created_at <= %(before)s)
    and (%(after_at)s::timestamptz is null or (r.created_at, r.id) < (%(after_at)s, %(after_id)s))
    and (%(type)s::text is null or (%(type)s = 'run' and r.id::text = lower(%(subject_id)s))
        or jsonb_build_object('type', %(type)s::text, 'id', %(subject_id)s::text) <@ r.subject
        or exists (select from app.actions a where a.tenant_id = r.tenant_id and a.run_id = r.id
            and jsonb_build_object('type', %(type)s::text, 'id', %(subject_id)s::text) <@ a.subject))
order by r.created_at desc, r.id desc
limit %(limit)s
