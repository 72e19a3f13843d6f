-- What may be decided together, of these exceptions: what each is of, what it says, and whether a hard gate was among what stopped it.
select e.id, e.kind, e.class_key, a.effect, a.payload::jsonb -> 'args' as args,
    exists (select from app.decisions d, jsonb_array_elements(d.reasons) r
        where d.tenant_id = e.tenant_id and d.action_id = e.action_id and r ->> 'check' = 'hard_gate') as gated
from app.exceptions e
join app.actions a on a.tenant_id = e.tenant_id and a.id = e.action_id
where e.id = any (%(ids)s::uuid[])
