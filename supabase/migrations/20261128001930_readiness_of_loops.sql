-- Control 5, once more: a workflow that runs by itself goes live only where what drives it has run lately.
do $$
begin
    execute regexp_replace(
        pg_get_functiondef('private.readiness_5(app.workflows, app.workflow_versions)'::regprocedure),
        '(\$function\$\s*)$',
        $more$    union all
    select case when jsonb_typeof(p_version.spec -> 'loop') = 'object' and not private.ran_within('advance_runs', interval '15 minutes')
            then 'advance_runs has not run well within 15 minutes. Start the scheduler, or see why the function fails.' end,
        case when jsonb_typeof(p_version.spec -> 'loop') = 'object' then 'advance_runs has run within 15 minutes.'
            else 'It has no loop that would have to be driven.' end
\1$more$);
end
$$;
revoke all on all functions in schema app, private from public;
