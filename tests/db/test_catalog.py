"""What must be so for every table, function and policy, asked of the catalog: a new one is checked unasked.

The second half are the lints of Supabase's database advisors that can apply here, in our own words. The first
column of each finding names the object.
"""

from __future__ import annotations

import pytest

from tests.db.world import World

DOORS = {"begin_v1(text,text)", "call_v1(text,text,jsonb,text,text)"}
WORKER = {
    "claim_calibrations_v1(text,integer)",
    "claim_connection_upkeep_v1(integer)",
    "claim_due_actions_v1(integer)",
    "claim_due_runs_v1(integer)",
    "claim_due_schedules_v1(integer)",
    "claim_webhook_v1(uuid)",
    "claim_due_undo_plans_v1(integer)",
    "claim_unknown_actions_v1(integer)",
    "claim_expired_exceptions_v1(integer)",
    "claim_expired_observations_v1(integer)",
    "claim_expired_runs_v1(integer)",
    "claim_oauth_flow_v1(bytea,bytea)",
    "claim_rewraps_v1(text,text[],integer)",
    "claim_run_key_rewraps_v1(text,text[],integer)",
    "claim_model_rewraps_v1(text,text[],integer)",
    "claim_webhook_rewraps_v1(text,text[],integer)",
    "claim_channel_rewraps_v1(text,text[],integer)",
    "claim_due_notifications_v1(integer)",
    "claim_old_notifications_v1(integer)",
    "claim_old_channel_checks_v1(integer)",
    "claim_unheard_alerts_v1(integer)",
    "claim_audit_watches_v1(integer)",
    "claim_left_kill_switches_v1(integer)",
    "claim_ending_keys_v1(integer)",
    "read_heartbeats_v1()",
    "claim_overdue_follow_ups_v1(integer)",
    "note_function_run_v1(text,timestamp with time zone,boolean)",
}
#: What people, keys and scheduled functions may call through a door; each takes one JSON document.
CALLABLE = {
    "approve_workflow_version_v1", "comment_exception_v1",
    "assert_observation_v1", "assign_exception_v1", "cancel_action_v1",
    "claim_attempt_v1", "claim_observation_v1", "claim_refresh_v1", "create_api_key_v1", "create_connection_v1",
    "create_service_account_v1", "create_tenant_v1", "create_workflow_v1", "create_workflow_version_v1",
    "decide_exception_v1", "defer_action_v1", "edit_exception_v1", "engage_kill_switch_v1", "expire_attempt_v1",
    "expire_exception_v1", "fail_refresh_v1", "finish_attempt_v1", "finish_observation_v1", "gate_facts_v1",
    "list_kill_switches_v1", "list_tenants_v1", "list_tools_v1", "me_v1", "publish_constitution_v1",
    "reconcile_action_v1", "record_action_v1", "record_evaluation_v1",
    "release_kill_switch_v1", "remove_member_v1", "requeue_action_v1", "revoke_api_key_v1",
    "revoke_connection_v1", "rotate_api_key_v1", "start_run_v1", "store_credential_v1",
    "submit_workflow_version_v1", "verify_audit_v1",
    "accept_invitation_v1", "change_role_v1", "describe_service_account_v1", "disable_service_account_v1",
    "get_tenant_v1", "invite_v1", "leave_tenant_v1", "list_invitations_v1", "list_my_invitations_v1",
    "list_permissions_v1", "list_service_accounts_v1", "narrow_api_key_v1", "note_invitation_mail_v1",
    "resend_invitation_v1", "transfer_ownership_v1", "update_tenant_v1", "withdraw_invitation_v1",
    "reject_workflow_version_v1", "withdraw_workflow_version_v1",
    "acknowledge_alert_v1", "begin_reconnect_v1", "claim_keep_alive_v1", "claim_revocation_v1", "claim_rewrap_v1",
    "clear_alert_v1", "assign_alert_v1", "alert_history_v1", "audit_event_v1", "verify_audit_part_v1", "controls_v1",
    "watch_audit_v1", "tell_of_audit_v1", "sign_audit_head_v1", "tell_left_kill_switch_v1",
    "tell_ending_key_v1", "forget_channel_checks_v1", "tell_owners_v1", "owners_told_v1",
    "complete_reconnect_v1", "count_down_connection_v1", "finish_revocation_v1",
    "list_connections_v1", "raise_alert_v1", "resolve_alert_v1", "store_rewrapped_v1",
    "decide_directory_change_v1", "propose_directory_change_v1", "withdraw_directory_change_v1",
    "keep_run_keys_v1", "store_run_keys_v1", "request_erasure_v1", "erase_runs_v1",
    "erase_observations_v1", "readiness_v1", "stored_decisions_v1",
    "adopt_amendment_v1", "propose_amendment_v1", "record_amendment_backtest_v1", "reject_amendment_v1",
    "withdraw_amendment_v1",
    "create_constitution_draft_v1", "decide_constitution_draft_v1", "submit_constitution_draft_v1",
    "update_constitution_draft_v1", "withdraw_constitution_draft_v1",
    "expire_sign_in_v1", "grant_lives_on_v1",
    "add_follow_up_v1", "change_incident_v1", "close_follow_up_v1", "move_incident_v1", "note_incident_v1",
    "open_incident_v1", "review_incident_v1", "tell_overdue_follow_up_v1",
    "set_confidence_threshold_v1", "tighten_confidence_v1",
    "register_tool_v1",
    "begin_model_call_v1", "change_model_provider_v1", "register_model_provider_v1", "revoke_model_provider_v1",
    "claim_model_rewrap_v1", "store_model_rewrap_v1", "claim_webhook_rewrap_v1", "store_webhook_rewrap_v1",
    "settle_model_call_v1",
    "accept_webhook_v1", "create_webhook_trigger_v1", "note_lost_webhook_secret_v1",
    "revoke_webhook_trigger_v1", "rotate_webhook_secret_v1",
    "begin_channel_check_v1", "change_channel_v1", "claim_channel_rewrap_v1", "claim_notification_v1",
    "create_channel_v1", "delete_channel_v1", "disable_channel_v1", "enable_channel_v1", "forget_notifications_v1",
    "open_channel_v1",
    "resend_notification_v1", "rotate_channel_v1", "settle_notification_v1", "store_channel_rewrap_v1",
    "verify_channel_v1",
    "claim_permit_v1", "report_outcome_v1", "get_kill_switch_v1", "repropose_exception_v1",
    "note_late_answer_v1", "note_look_v1", "note_read_v1", "settle_absent_v1",
    "repropose_action_v1", "repropose_dead_letter_v1", "send_attempt_v1",
    "advance_undo_v1", "compensate_action_v1", "describe_dead_letter_v1", "describe_undo_v1",
    "cancel_run_v1", "claim_run_v1", "complete_run_v1", "queue_run_v1", "start_scheduled_run_v1", "take_run_step_v1",
    "restart_run_v1",
    "list_dead_letters_v1", "note_requeues_v1", "settle_undo_step_v1", "undo_run_v1",
}  # fmt: skip
#: What policies and the doors themselves need.
INTERNAL = {
    "claims()", "fail(integer,text,text)", "require(text)", "current_principal()", "current_tenant()",
    "current_environment()", "find_answer(text,text)", "keep_answer(text,text,jsonb)",
    "require_environment(private.principal,text)", "note_key_use()",
    "holds(text)", "cooling_off(uuid)",
    "refuse_ended_session()",
    "agent_was_right(text,uuid,uuid,text)", "worth_of(jsonb)", "currency_of_worth(jsonb)", "weight_of_severity(text)",
}  # fmt: skip
APPEND_ONLY = {
    "app.approvals", "app.audit_checkpoints", "app.audit_events", "app.confidence_thresholds",
    "app.constitution_versions", "app.credential_releases", "app.decisions", "app.directory_settings",
    "app.erasures", "app.erasure_runs", "app.gate_facts",
    "app.incident_entries", "app.incident_reviews", "app.model_calls", "app.model_reservations",
    "app.kill_switch_proofs",
    "app.late_answers", "app.limit_reservations", "app.permit_outcomes", "app.requeues", "app.run_steps",
    "app.rewrap_releases", "app.tenant_settings",
    "app.tenant_tools", "app.workflow_versions", "private.tool_catalog",
}  # fmt: skip
#: Ids without a foreign key, and why a row cannot point into another tenant by them all the same.
UNREFERENCED = {
    "approvals.run_id": "stamped from the action",
    "attempts.run_id": "stamped from the action",
    "credential_releases.action_id": "written by release_credential alone, for a claim it was handed",
    "credential_releases.run_id": "written by release_credential alone, for a claim it was handed",
    "late_answers.run_id": "stamped from the attempt",
    "decisions.run_id": "that of its action, or of the run whose facts it cites",
    "audit_events.action_id": "part of the record, which is history",
    "audit_events.run_id": "part of the record, which is history",
}

TABLES = """
    select c.oid, n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relacl, c.relowner
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.nspname = 'app'
"""
FUNCTIONS = """
    select p.oid, n.nspname, p.proname, p.prosecdef, p.proconfig, p.proacl,
        p.proname || '(' || replace(pg_get_function_identity_arguments(p.oid), ' ', '') || ')' as signature
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('app', 'private')
"""

RULES: dict[str, str] = {
    "every table belongs to a tenant": f"""
        select relname from ({TABLES}) t where not exists (
            select from pg_attribute a where a.attrelid = t.oid and a.attname = 'tenant_id' and a.attnotnull
                and a.atttypid = 'uuid'::regtype)""",
    "every table's primary key begins with the tenant": f"""
        select relname from ({TABLES}) t where not exists (
            select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = t.oid and i.indisprimary and a.attname = 'tenant_id')""",
    "every table has row-level security, enabled and forced": f"""
        select relname from ({TABLES}) t where not (relrowsecurity and relforcerowsecurity)""",
    "every table has a policy": f"""
        select relname from ({TABLES}) t where not exists (select from pg_policy where polrelid = t.oid)""",
    "every policy only reads, is for authenticated alone, and permits": """
        select polrelid::regclass, polname from pg_policy
        where polrelid::regclass::text like 'app.%%'
            and not (polcmd = 'r' and polpermissive and polroles = array['authenticated'::regrole::oid])""",
    "every policy asks for the tenant, or refuses": """
        select polrelid::regclass, polname from pg_policy
        where polrelid::regclass::text like 'app.%%' and pg_get_expr(polqual, polrelid) <> 'false'
            and pg_get_expr(polqual, polrelid) not like '%%(tenant_id = ( SELECT private.current_tenant()%%'""",
    "every policy on rows of an environment asks for it": f"""
        select relname, polname from ({TABLES}) t join pg_policy on polrelid = t.oid
        where exists (select from pg_attribute a where a.attrelid = t.oid and a.attname = 'environment')
            and pg_get_expr(polqual, polrelid) <> 'false'
            and pg_get_expr(polqual, polrelid) not like '%%( SELECT private.current_environment()%%'""",
    "nobody but its owner may write a table": f"""
        select relname, grantee::regrole, privilege_type from ({TABLES}) t, aclexplode(t.relacl)
        where grantee <> relowner and not (grantee = 'authenticated'::regrole and privilege_type = 'SELECT')
        union all
        select c.oid::regclass::text, a.grantee::regrole, a.privilege_type
        from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
        where n.nspname = 'private' and a.grantee <> c.relowner
        union all
        select a.attrelid::regclass::text, x.grantee::regrole, x.privilege_type
        from pg_attribute a join ({TABLES}) t on t.oid = a.attrelid, aclexplode(a.attacl) x
        where not (x.grantee = 'authenticated'::regrole and x.privilege_type = 'SELECT')""",
    "secrets are not granted": f"""
        select t.relname, a.attname from ({TABLES}) t join pg_attribute a on a.attrelid = t.oid
        where a.attname in ('secret_hash', 'fence', 'secret_id', 'verifier', 'state_hash', 'binding_hash', 'answer')
            and has_column_privilege('authenticated', t.oid, a.attnum, 'select')""",
    "no function is for everybody, nor for roles that are not ours": f"""
        select f.signature, r.rolname from ({FUNCTIONS}) f
        cross join (values ('anon'), ('service_role'), ('authenticator')) r (rolname)
        where has_function_privilege(r.rolname, f.oid, 'execute')
        union all
        select f.signature, 'public' from ({FUNCTIONS}) f, aclexplode(f.proacl) where grantee = 0
        union all
        select f.signature, 'default' from ({FUNCTIONS}) f where f.proacl is null""",
    "every function has a search_path that ends with pg_temp": f"""
        select signature, proconfig from ({FUNCTIONS}) f
        where not coalesce(proconfig, '{{}}') @> array['search_path=pg_catalog, pg_temp']""",
    "every function that runs as its owner is the migrations' owner's": f"""
        select f.signature from ({FUNCTIONS}) f join pg_proc p on p.oid = f.oid
        where f.prosecdef and p.proowner <> 'postgres'::regrole""",
    "every trigger fires for every session": """
        select tgrelid::regclass, tgname, tgenabled from pg_trigger
        where not tgisinternal and tgrelid::regclass::text ~ '^(app|private)\\.' and tgenabled <> 'A'""",
    "no table can be truncated": f"""
        select relname from ({TABLES}) t where not exists (select from pg_trigger g join pg_proc p on p.oid = g.tgfoid
            where g.tgrelid = t.oid and g.tgtype & 32 = 32 and p.proname = 'refuse_change')""",
    "every table has a deferred audit trigger or is known not to need one": f"""
        select relname from ({TABLES}) t where relname not in ('audit_events', 'audit_heads', 'audit_checkpoints',
                'gate_facts', 'limit_reservations', 'idempotency_keys', 'key_uses', 'oauth_flows', 'workflow_versions')
            and not exists (select from pg_trigger g where g.tgrelid = t.oid and g.tgname = 'zz_audit_change'
                and g.tginitdeferred and g.tgtype & 28 = 28)""",
    "every foreign key carries the tenant": """
        select conrelid::regclass, conname from pg_constraint c
        where contype = 'f' and connamespace = 'app'::regnamespace and not exists (
            select from unnest(c.conkey, c.confkey) k (here, there)
            join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.here
            join pg_attribute b on b.attrelid = c.confrelid and b.attnum = k.there
            where a.attname = 'tenant_id' and b.attname = 'tenant_id')""",
    "no foreign key cascades": """
        select conrelid::regclass, conname from pg_constraint
        where contype = 'f' and connamespace in ('app'::regnamespace, 'private'::regnamespace)
            and (confdeltype <> 'a' or confupdtype <> 'a')""",
    "no foreign key points at the vault or at Auth": """
        select conrelid::regclass, conname from pg_constraint c join pg_class t on t.oid = c.confrelid
        where contype = 'f' and t.relnamespace in ('vault'::regnamespace, 'auth'::regnamespace)
            and c.connamespace <> t.relnamespace""",
    "times have a zone": f"""
        select t.relname, a.attname from ({TABLES}) t join pg_attribute a on a.attrelid = t.oid
        where a.atttypid in ('timestamp'::regtype, 'time'::regtype)""",
    "the application's roles hold nothing special": """
        select rolname from pg_roles where rolname in ('countersign_api', 'countersign_worker')
            and (rolsuper or rolinherit or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)
        union all
        select pg_get_userbyid(roleid) from pg_auth_members where member = 'countersign_api'::regrole
            and pg_get_userbyid(roleid) not in ('authenticated', 'countersign_worker')
        union all
        select pg_get_userbyid(roleid) from pg_auth_members where member = 'countersign_worker'::regrole""",
    "the application's roles own nothing": """
        select objid::text from pg_shdepend where deptype = 'o'
            and refobjid in ('countersign_api'::regrole, 'countersign_worker'::regrole, 'authenticated'::regrole)""",
}

#: Supabase's database advisors (splinter), by their names.
ADVISORS: dict[str, str] = {
    "0001 unindexed_foreign_keys": """
        select c.conrelid::regclass, c.conname from pg_constraint c
        where c.contype = 'f' and c.connamespace in ('app'::regnamespace, 'private'::regnamespace) and not exists (
            select from pg_index i where i.indrelid = c.conrelid
                and (i.indkey::int2[])[0:cardinality(c.conkey) - 1] = c.conkey)""",
    "0003 auth_rls_initplan": """
        select polrelid::regclass, polname from pg_policy
        where polrelid::regclass::text like 'app.%%'
            and regexp_replace(pg_get_expr(polqual, polrelid), 'SELECT (private|auth)\\.', '', 'g')
                ~ '(current_setting|private\\.|auth\\.)'""",
    "0004 no_primary_key": """
        select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('app', 'private') and c.relkind = 'r'
            and not exists (select from pg_index where indrelid = c.oid and indisprimary)""",
    "0006 multiple_permissive_policies": """
        select polrelid::regclass, polcmd, r from pg_policy, unnest(polroles) r where polpermissive
        group by 1, 2, 3 having count(*) > 1""",
    "0007 policy_exists_rls_disabled": """
        select polrelid::regclass from pg_policy join pg_class c on c.oid = polrelid where not relrowsecurity""",
    "0009 duplicate_index": """
        select indrelid::regclass, array_agg(indexrelid::regclass) from pg_index join pg_class c on c.oid = indrelid
        where c.relnamespace in ('app'::regnamespace, 'private'::regnamespace)
        group by indrelid, indkey::text, indclass::text, indoption::text, pg_get_expr(indpred, indrelid),
            pg_get_expr(indexprs, indrelid) having count(*) > 1""",
    "0010 security_definer_view": """
        select c.oid::regclass from pg_class c where c.relkind = 'v'
            and c.relnamespace in ('app'::regnamespace, 'private'::regnamespace, 'public'::regnamespace)
            and not coalesce(c.reloptions, '{}') && '{security_invoker=true,security_invoker=on,security_invoker=1}'""",
    "0011 function_search_path_mutable": f"""
        select signature from ({FUNCTIONS}) f where not exists (
            select from unnest(coalesce(proconfig, '{{}}')) s where s like 'search_path=%%')""",
    "0013 rls_disabled_in_public": """
        select c.oid::regclass from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace""",
    "0016 materialized_view_in_api": """
        select c.oid::regclass from pg_class c where c.relkind in ('m', 'f')
            and c.relnamespace in ('app'::regnamespace, 'private'::regnamespace, 'public'::regnamespace)""",
    "a function of ours in public": """
        select p.oid::regprocedure from pg_proc p where p.pronamespace = 'public'::regnamespace""",
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(still_world: World, rule: str) -> None:
    assert still_world.rows(RULES[rule]) == []


@pytest.mark.parametrize("lint", ADVISORS)
def test_advisor(still_world: World, lint: str) -> None:
    assert still_world.rows(ADVISORS[lint]) == []


#: Everything at once that the rules above forbid.
MESS = """
    create table app.mess (id int, name text, secret_hash text, environment text, at timestamp,
        tenant uuid references app.tenants on delete cascade);
    create table app.bare (id int);
    create index mess_one on app.mess (name);
    create index mess_two on app.mess (name);
    create trigger mess_t before insert on app.mess for each row execute function private.refuse_change();
    grant insert, select on app.mess to authenticated;
    create policy "all may write" on app.mess for all using (current_setting('a.b') = 'c');
    create policy "again" on app.mess for all using (true);
    create function app.mess() returns void language sql security definer as 'select';
    create function public.mess() returns void language sql as 'select';
    create view private.mess as select 1;
    create materialized view app.messy as select 1;
    create table public.mess (id int);
    create table auth.mess (id int primary key);
    alter table app.mess add foreign key (id) references auth.mess;
    alter role countersign_worker bypassrls;
    grant create on schema public to countersign_api;
    set local role countersign_api;
    create table public.owned (id int);
"""


def test_every_rule_can_be_broken(world: World) -> None:
    """A rule that finds nothing in a mess would find nothing anywhere."""
    with world.root.transaction(force_rollback=True):
        world.root.execute(MESS.encode())
        world.root.execute("reset role")
        blind = [name for name, rule in (RULES | ADVISORS).items() if not world.rows(rule)]
    assert blind == []


def _executable(world: World, role: str, schema: str) -> set[str]:
    return {
        str(signature)
        for (signature,) in world.rows(
            "select p.proname || '(' || (select coalesce(string_agg(format_type(t, null), ',' order by n), '')"
            " from unnest(p.proargtypes) with ordinality a (t, n)) || ')' from pg_proc p"
            " where p.pronamespace = %s::regnamespace and has_function_privilege(%s, p.oid, 'execute')",
            schema,
            role,
        )
    }


def test_who_may_call_what(still_world: World) -> None:
    """The application's login has its two doors, the worker its claims, and everybody else goes through a door."""
    expected = {
        ("countersign_api", "app"): DOORS,
        ("countersign_api", "private"): set(),
        ("countersign_worker", "app"): WORKER,
        ("countersign_worker", "private"): set(),
        ("authenticated", "app"): {f"{name}(jsonb)" for name in CALLABLE},
        ("authenticated", "private"): INTERNAL,
        ("anon", "app"): set(),
        ("anon", "private"): set(),
        ("service_role", "app"): set(),
        ("service_role", "private"): set(),
    }
    assert {key: _executable(still_world, *key) for key in expected} == expected


def test_schemas_are_closed_to_the_data_api(still_world: World) -> None:
    for schema in ("app", "private"):
        for role in ("anon", "service_role", "authenticator"):
            assert not still_world.value("select has_schema_privilege(%s, %s, 'usage')", role, schema)
        for role in ("countersign_api", "countersign_worker", "authenticated"):
            assert not still_world.value("select has_schema_privilege(%s, %s, 'create')", role, schema)


def test_append_only_tables_refuse_for_every_session(still_world: World) -> None:
    guarded = {
        name
        for (name,) in still_world.rows(
            "select tgrelid::regclass::text from pg_trigger t join pg_proc p on p.oid = t.tgfoid"
            # A row trigger before update and delete; see pg_trigger.tgtype.
            " where p.proname = 'refuse_change' and tgtype & 27 = 27 and tgenabled = 'A'"
        )
    }
    assert guarded == APPEND_ONLY


def test_every_id_is_a_foreign_key_or_explained(still_world: World) -> None:
    """A column named after a table points to a row of it, in the same tenant."""
    loose = {
        name
        for (name,) in still_world.rows(
            "select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid"
            " where c.relnamespace = 'app'::regnamespace and c.relkind = 'r' and a.attnum > 0 and exists ("
            " select from pg_class o where o.relnamespace = 'app'::regnamespace and o.relkind = 'r'"
            " and o.relname || '_id' in (a.attname || 's', replace(a.attname, '_id', 's_id')) and o.oid <> c.oid)"
            " and not exists (select from pg_constraint f where f.contype = 'f' and f.conrelid = c.oid"
            " and a.attnum = any (f.conkey))"
        )
    }
    assert loose == set(UNREFERENCED)
