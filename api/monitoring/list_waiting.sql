-- What waits for a second person, the oldest first: versions of workflows, drafts of rules, rules learned from decisions, and changes of
-- the directory. Few of each are ever open at once.
select * from (
    select 'workflow_version' as kind, w.slug || '/' || r.version as id, w.title as name, w.environment, r.author as author_id,
        r.updated_at as since, null::timestamptz as ends_at
    from app.workflow_reviews r join app.workflows w on w.tenant_id = r.tenant_id and w.id = r.workflow_id
    where r.status = 'in_review'
    union all
    select 'constitution_draft', id::text, reason, null, author, updated_at, null from app.constitution_drafts where status = 'in_review'
    union all
    select 'amendment', id::text, coalesce(rule ->> 'title', reason), environment, proposed_by, created_at, null
    from app.amendments where status = 'proposed'
    union all
    select 'directory_change', c.id::text, coalesce(c.payload::jsonb -> 'entry' ->> 'name', e.name, c.reason), c.environment, c.proposed_by,
        c.created_at, c.expires_at
    from app.directory_changes c left join app.directory_entries e on e.tenant_id = c.tenant_id and e.id = c.entry_id
    where c.status = 'open' and c.expires_at > now()) waiting
where environment is null or environment = coalesce(%(environment)s, environment)
order by since, id
limit 50
