-- An attempt under way, with its action's tool.
select t.number, a.tool, a.contract_version from app.attempts t
join app.actions a on a.tenant_id = t.tenant_id and a.id = t.action_id
where t.id = %(id)s and t.status = 'executing'
