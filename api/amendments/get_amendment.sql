-- One amendment, with what its rule would have decided otherwise, and the class that it is for.
select a.id, a.status, a.kind, a.environment, a.exception_id, a.class_key, a.rule, a.digest, a.reason, a.proposed_by, a.contradictions,
    a.acknowledged, a.decided_by, a.decided_at, a.decision_reason, a.constitution_version, a.created_at, a.backtest,
    e.class as exception_class
from app.amendments a
join app.exceptions e on e.tenant_id = a.tenant_id and e.id = a.exception_id
where a.id = %(id)s
