-- People look for what is in one state: what failed, what nobody knows the end of, which runs wait. Few are, of many.
create index actions_by_status on app.actions (tenant_id, status, created_at desc, id desc);
create index runs_by_status on app.runs (tenant_id, status, created_at desc, id desc);
-- And for what one workflow or one tool did.
create index actions_by_tool on app.actions (tenant_id, tool, created_at desc, id desc);
create index runs_of_workflow on app.runs (tenant_id, workflow_id, created_at desc, id desc);
