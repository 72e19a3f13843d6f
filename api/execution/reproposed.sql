-- An action as it was proposed, to propose it once more.
select a.id, a.run_id, w.slug as workflow, a.tool, a.payload::jsonb -> 'args' as args, a.confidence::float8 as confidence,
    a.rationale, a.citations, a.evidence, a.subject, a.edited_by,
    jsonb_build_object('kind', a.proposed_by_kind, 'id', a.proposed_by) as proposed_by
from app.actions a
join app.workflows w on w.tenant_id = a.tenant_id and w.id = a.workflow_id
where a.id = %(id)s
