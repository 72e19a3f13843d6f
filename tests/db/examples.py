"""Arguments for every function that people, keys and scheduled functions may call, naming things of one place.

test_function_matrix.py calls each of them as everybody, with the arguments of every place. A function that is new in
the catalog is added here, in alphabetical order: what it takes, as the application would pass it, with ids of rows that
tests/db/founding.py makes (`here.id`). Aimed at one's own place it must succeed for somebody.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from api.ids import new_id
from tests.db import absences, amendments, channels, constitutions, directory, hooks, incidents, loops, models, undo
from tests.db.matrix import Place
from tests.db.names import BILLS, NOTE, PAY, PROVIDERS, RUN_KEYS, Row, soon
from tests.db.tools import TOOL, refund
from tests.db.world import World


class Here:
    """One place, and what is in it."""

    def __init__(self, world: World, place: Place) -> None:
        self.world, self.tenant, self.environment = world, place.tenant, place.environment

    def value(self, table: str, where: str = "true", column: str = "id") -> Any:
        """One value of a row of this place; of the tenant's where the table knows no environments."""
        columns = {name for (name,) in self.world.rows(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0", table)}  # fmt: skip
        confined = f" and environment = '{self.environment}'" if "environment" in columns else ""
        here = f"tenant_id = '{self.tenant.id}'{confined} and {where}"
        found = self.world.rows(f"select {column} from {table} where {here} order by 1 limit 1")
        assert found, (
            f"tests/db/founding.py makes no row of {table} in {self.tenant.name}/{self.environment} where {where}"
        )
        return found[0][0]

    def id(self, table: str, where: str = "true", column: str = "id") -> str:
        """The id of one row, or one that it names."""
        return str(self.value(table, where, column))

    @property
    def slug(self) -> str:
        return self.tenant.slug(self.environment)

    @property
    def waiting(self) -> Row:
        """An open exception, with its action's digest."""
        exception = self.id("app.exceptions", "status = 'open' and kind = 'approval'")
        action = f"id in (select action_id from app.exceptions where id = '{exception}')"
        return {"id": exception, "digest": self.value("app.actions", action, "digest")}

    def spec(self) -> Row:
        connections = {
            provider: {
                access: self.tenant.connection(f"{short}/{access}", self.environment) for access in ("read", "write")
            }
            for short, provider in PROVIDERS.items()
        }
        return {"connections": connections, "tools": {PAY: {"access": "write"}}}

    def attempt(self) -> Row:
        live = "status = 'executing' and lease_expires_at > now() and sent_at is not null and kind = 'executor'"
        return {"attempt_id": self.id("app.attempts", live), "fence": str(self.value("app.attempts", live, "fence"))}

    def authorized(self) -> str:
        return self.id("app.actions", "status = 'authorized'")


def _run(here: Here, status: str) -> Row:
    """A run that is driven here."""
    return {"run_id": here.id("app.runs", f"driven_by = 'loop' and status = '{status}'")}


def _held_run(here: Here) -> Row:
    run = _run(here, "running")
    fence = here.id("private.run_work", f"run_id = '{run['run_id']}'", "fence")
    return run | {"fence": fence, "lease_seconds": 60}


def _new() -> Row:
    return {"id": str(new_id())}


def _named(row: str) -> str:
    return f"id = '{row}'"


def _by_hand(here: Here) -> Row:
    """What a kill switch stopped, proposed again unedited."""
    item = here.id("app.exceptions", "status = 'open' and kind = 'manual'")
    action = f"id = '{here.value('app.exceptions', _named(item), 'action_id')}'"
    args = json.loads(here.value("app.actions", action, "payload"))["args"]
    by = here.tenant.system()
    again = here.world.proposal(
        here.tenant, NOTE, args, outcome="allow", environment=here.environment, by=by, limits=[]
    )
    digest = here.value("app.actions", action, "digest")
    return {"exception_id": item, "digest": digest, "reason": "mine", "action": again}


def _new_permit(here: Here) -> Row:
    """For what the tenant's own client executes."""
    return {
        "action_id": here.id("app.actions", f"status = 'authorized' and tool = '{TOOL}'"),
        "attempt_id": str(new_id()),
    }


def _outcome(here: Here) -> Row:
    """Of a permit that the client has."""
    permit = here.id("app.attempts", "status = 'executing' and kind = 'client'")
    action = here.id("app.attempts", f"id = '{permit}'", "action_id")
    digest = here.value("app.actions", f"id = '{action}'", "digest")
    return {"action_id": action, "attempt_id": permit, "digest": digest, "outcome": "succeeded"}


def _tokens(here: Here) -> Row:
    connection = here.tenant.connection("bank/write", here.environment)
    return {"connection_id": connection, "replaces": 1, "envelope": "mine", "token_expires_at": soon()}


def _observed(here: Here) -> Row:
    asserted = {
        "tool": BILLS,
        "contract_version": 1,
        "args": {},
        "result": {"n": 1},
        "labels": {},
        "digest": "sha256:0",
    }
    return _new() | asserted | {"run_id": here.tenant.run(here.environment)}


def _evaluated(here: Here) -> Row:
    proposal = here.world.proposal(here.tenant, environment=here.environment, by=here.tenant.system())
    named = {name: proposal[name] for name in ("run_id", "workflow_id", "epoch", "decision")}
    return _new() | named | {"reasons": [], "proposal": {}}


def _edited(here: Here) -> Row:
    action = here.world.proposal(here.tenant, environment=here.environment, by=here.tenant.system())
    return {"exception_id": here.waiting["id"], "digest": here.waiting["digest"], "reason": "edited", "action": action}


def _again(here: Here, action: str) -> Row:
    """An action proposed once more, with the arguments that it has."""
    tool, payload = (here.value("app.actions", f"id = '{action}'", column) for column in ("tool", "payload"))
    args = json.loads(payload)["args"]
    again = here.world.proposal(here.tenant, tool, args, environment=here.environment, by=here.tenant.system())
    return {"action_id": action, "reason": "mine", "action": again | {"moved": [{"what": "mine"}]}}


def _stale(here: Here) -> Row:
    unsent = "status = 'executing' and sent_at is null"
    attempt, fence, action = (here.value("app.attempts", unsent, column) for column in ("id", "fence", "action_id"))
    return {"attempt_id": str(attempt), "fence": str(fence)} | _again(here, str(action))


def _key(here: Here) -> Row:
    key = {"prefix": "cs_mine", "secret_hash": "11" * 32, "scopes": ["tenant.read"], "expires_at": soon()}
    return _new() | key | {"service_account_id": here.tenant.agent, "environment": here.environment}


def _sign_in(here: Here) -> Row:
    fresh = str(new_id()).replace("-", "") * 2
    asked = {"provider": "sandbox_bank", "environment": here.environment, "access": "read", "scopes": ["all"]}
    flow = {"state_hash": fresh, "binding_hash": fresh, "verifier": "sealed", "redirect_uri": "https://example.com/"}
    return _new() | asked | flow | {"expires_at": soon()}


def _connection(here: Here) -> Row:
    return {"connection_id": here.tenant.connection("bank/write", here.environment)}


def _sign_in_again(here: Here) -> Row:
    """A connection that has been there, with a sign-in of its own."""
    begun = {name: value for name, value in _sign_in(here).items() if name not in ("provider", "environment", "access")}
    return begun | {"id": here.tenant.connection("crm/read", here.environment)}


def _signed_in_again(here: Here) -> Row:
    """What came of the sign-in that the tenant's admin has made anew."""
    again = here.tenant.connection("crm/read", here.environment)
    account = {"account": {"id": here.tenant.mark(here.environment)}, "scopes_granted": ["all"]}
    state = sha256(f"{again}/again".encode()).hexdigest()
    return _tokens(here) | account | {"connection_id": again, "state_hash": state}


def _proposed(here: Here) -> Row:
    change = "status = 'open'"
    return {
        "id": here.id("app.directory_changes", change),
        "digest": here.value("app.directory_changes", change, "digest"),
    }


def _draft(here: Here, status: str) -> Row:
    """A draft of the constitution, of the person who may publish one."""
    where = f"status = '{status}'"
    return {
        "id": here.id("app.constitution_drafts", where),
        "digest": here.value("app.constitution_drafts", where, "digest"),
    }


def _amendment(here: Here) -> Row:
    waits = "status = 'proposed'"
    return {"id": here.id("app.amendments", waits), "digest": here.value("app.amendments", waits, "digest")}


def _amended(here: Here) -> Row:
    """An amendment of an exception that was decided, and that none is proposed from yet."""
    named = amendments.classed(here.tenant, here.environment, "another")
    of = {"exception_id": here.id("app.exceptions", f"class_key = '{named['key']}'")}
    identity = str(new_id())
    rule = amendments.rule_of(identity, here.tenant, here.environment)
    return amendments.content(rule) | {"id": identity} | of


def _invitation(here: Here) -> Row:
    return {"id": here.id("app.invitations", "status = 'open'")}


def _dead(here: Here) -> Row:
    return {"id": here.id("app.actions", "status = 'dead_letter'")}


def _undone(here: Here) -> Row:
    done = here.id("app.actions", f"status = 'succeeded' and tool = '{undo.TAG}'")
    return undo.undoing(here.world, done, here.tenant, here.environment)


def _plan(here: Here) -> Row:
    return {"plan_id": here.id("app.undo_plans", "status = 'running'")}


def _late(here: Here) -> Row:
    """Of an attempt that is over, and of which no late answer is there yet."""
    over = "status = 'unknown' and kind = 'executor' and id not in (select id from app.late_answers)"
    attempt = here.id("app.attempts", over)
    fence = here.value("app.attempts", f"id = '{attempt}'", "fence")
    return absences.late({"attempt_id": attempt, "fence": str(fence)})


def _absent(here: Here) -> Row:
    seen = "purpose = 'read_back' and status = 'succeeded'"
    return {
        "id": here.id("app.observations", seen, "action_id"), "observation_id": here.id("app.observations", seen),
        "reason": "mine",
    }  # fmt: skip


def _checked_channel(here: Here) -> Row:
    return {"id": here.id("app.channels"), "check_id": here.id("app.channel_checks")}


def _leased(here: Here) -> Row:
    """A delivery that is under way."""
    leased = "id in (select notification_id from private.notification_leases)"
    notification = here.id("app.notifications", leased)
    fence = here.id("private.notification_leases", f"notification_id = '{notification}'", "fence")
    return {"id": notification, "fence": fence, "outcome": "delivered"}


EXAMPLES: dict[str, Callable[[Here], Row]] = {
    "accept_invitation_v1": _invitation,
    "accept_webhook_v1": lambda h: hooks.event(h.id("app.webhook_triggers")),
    "acknowledge_alert_v1": lambda h: {"id": h.id("app.alerts", "status = 'open'"), "note": "mine"},
    "adopt_amendment_v1": lambda h: _amendment(h) | {"acknowledge": False, "reason": "mine"},
    "add_follow_up_v1": lambda h: incidents.follow_up(h.tenant) | {"incident_id": h.id("app.incidents")},
    "advance_undo_v1": _plan,
    "alert_history_v1": lambda h: {"id": h.id("app.alerts")},
    "approve_workflow_version_v1": lambda h: {"slug": h.slug, "version": 2, "reason": "mine"},
    "assert_observation_v1": _observed,
    "assign_alert_v1": lambda h: {"id": h.id("app.alerts", "status = 'open'"), "user_id": h.tenant.person("approver")},
    "assign_exception_v1": lambda h: {"id": h.waiting["id"], "user_id": h.tenant.person("approver")},
    "audit_event_v1": lambda h: {"seq": 1},
    "begin_channel_check_v1": lambda h: {"id": h.id("app.channels"), "check_id": str(new_id())},
    "begin_model_call_v1": lambda h: models.asking(h.tenant, h.environment),
    "begin_reconnect_v1": _sign_in_again,
    "comment_exception_v1": lambda h: {"id": str(new_id()), "exception_id": h.waiting["id"], "text": "mine"},
    "cancel_run_v1": lambda h: {"id": _run(h, "queued")["run_id"], "reason": "mine"},
    "change_incident_v1": lambda h: incidents.unresolved(h) | {
        "owner_id": h.tenant.person("operator"), "reason": "mine",
    },
    "change_model_provider_v1": lambda h: {"id": h.id("app.model_providers"), "region": "mine"},
    "cancel_action_v1": lambda h: {"id": h.authorized(), "reason": "mine"},
    "change_channel_v1": lambda h: {"id": h.id("app.channels"), "if_match": None, "name": "mine"},
    "change_role_v1": lambda h: {"user_id": h.tenant.person("operator"), "role": "auditor"},
    "claim_attempt_v1": lambda h: {"action_id": h.authorized(), "attempt_id": str(new_id()), "lease_seconds": 60},
    "claim_channel_rewrap_v1": lambda h: {"channel_id": h.id("app.channels"), "generation": 1, "kek": "new"},
    "claim_keep_alive_v1": _connection,
    "claim_model_rewrap_v1": lambda h: {"provider_id": h.id("app.model_providers"), "kek": "new"},
    "claim_notification_v1": lambda h: {
        "id": h.id("app.notifications", "status = 'pending' and severity = 'critical'"), "lease_seconds": 60,
    },
    "claim_observation_v1": lambda h: h.world.observation(h.tenant, h.environment),
    "claim_permit_v1": lambda h: _new_permit(h),
    "claim_refresh_v1": lambda h: {
        "connection_id": h.tenant.connection("bank/write", h.environment), "generation": 1,
        "claimed_for": h.attempt()["attempt_id"],
    },
    "claim_revocation_v1": lambda h: {"connection_id": h.tenant.connection("closed/read", h.environment)},
    "claim_webhook_rewrap_v1": lambda h: {"trigger_id": h.id("app.webhook_triggers"), "generation": 1, "kek": "new"},
    "claim_rewrap_v1": lambda h: _connection(h) | {"kek": "new"},
    "claim_run_v1": lambda h: _run(h, "queued") | {"fence": str(new_id()), "lease_seconds": 60},
    "clear_alert_v1": lambda h: {
        "subject_type": "connection", "subject_id": h.tenant.connection("crm/read", h.environment),
        "resolution": "mine",
    },
    "close_follow_up_v1": lambda h: {
        "id": h.id("app.incident_follow_ups", "status = 'open'"), "note": "mine",
        "incident_id": h.id("app.incident_follow_ups", "status = 'open'", "incident_id"),
    },
    "compensate_action_v1": _undone,
    "complete_reconnect_v1": _signed_in_again,
    "complete_run_v1": lambda h: {"id": h.tenant.run(h.environment)},
    "count_down_connection_v1": _connection,
    "expire_sign_in_v1": _connection,
    "grant_lives_on_v1": _connection,
    "create_api_key_v1": _key,
    "create_channel_v1": lambda h: channels.channel(h.environment),
    "create_connection_v1": _sign_in,
    "create_constitution_draft_v1": lambda h: constitutions.draft(),
    "create_service_account_v1": lambda h: _new() | {"name": "mine"},
    "create_tenant_v1": lambda h: _new() | {
        "name": h.tenant.name, "email": "x@example.com", "constitution": {"rules": [], "reason": "mine"},
    },
    "create_webhook_trigger_v1": lambda h: hooks.trigger(h.tenant, h.environment, provider="stripe"),
    "create_workflow_v1": lambda h: _new() | {
        "slug": "mine", "environment": h.environment, "title": "Mine", "spec": h.spec(),
    },
    "create_workflow_version_v1": lambda h: {"slug": h.slug, "spec": h.spec()},
    "decide_constitution_draft_v1": lambda h: _draft(h, "in_review") | {"verdict": "reject", "reason": "mine"},
    "decide_directory_change_v1": lambda h: _proposed(h) | {"verdict": "approve", "reason": "mine"},
    "decide_exception_v1": lambda h: h.waiting | {
        "approval_id": str(new_id()), "verdict": "approve", "reason": "mine", "approval_expires_at": soon(),
    },
    "defer_action_v1": lambda h: {"action_id": h.authorized(), "seconds": 3600},
    "delete_channel_v1": lambda h: {"id": h.id("app.channels")},
    "describe_dead_letter_v1": _dead,
    "describe_undo_v1": lambda h: {"id": h.id("app.actions", "status = 'succeeded'")},
    "describe_service_account_v1": lambda h: {"id": h.tenant.agent, "description": "mine"},
    "disable_channel_v1": lambda h: {"id": h.id("app.channels"), "reason": "mine"},
    "disable_service_account_v1": lambda h: {"id": h.tenant.agent},
    "edit_exception_v1": _edited,
    "enable_channel_v1": lambda h: {"id": h.id("app.channels")},
    "engage_kill_switch_v1": lambda h: _new() | {
        "scope": "workflow", "target": h.tenant.workflow(h.environment), "reason": "mine",
    },
    "expire_attempt_v1": lambda h: {"attempt_id": h.attempt()["attempt_id"], "outcome": "retry"},
    "erase_runs_v1": lambda h: {"ids": [h.tenant.run(h.environment)]},
    "erase_observations_v1": lambda h: {"ids": [h.id("app.observations")]},
    "expire_exception_v1": lambda h: {"id": h.waiting["id"]},
    "fail_refresh_v1": lambda h: {
        "connection_id": h.tenant.connection("bank/write", h.environment), "generation": 1, "final": True,
        "reason": "mine",
    },
    "finish_attempt_v1": lambda h: h.attempt() | {"outcome": "succeeded"},
    "finish_observation_v1": lambda h: {
        "id": h.id("app.observations", "status = 'reading'"), "status": "succeeded", "result": {},
    },
    "finish_revocation_v1": lambda h: {
        "connection_id": h.tenant.connection("leaving/read", h.environment), "attempt": 1, "generation": 1,
        "outcome": "confirmed",
    },
    "forget_channel_checks_v1": lambda h: {"ids": [h.id("app.channel_checks")]},
    "forget_notifications_v1": lambda h: {"ids": [h.id("app.notifications", "status = 'dead'")]},
    "gate_facts_v1": lambda h: {"workflow": h.slug},
    "get_kill_switch_v1": lambda h: {"id": h.id("app.kill_switches")},
    "get_tenant_v1": lambda h: {"id": h.tenant.id},
    "invite_v1": lambda h: _new() | {"email": "mine@example.com", "role": "auditor", "name": "mine"},
    "keep_run_keys_v1": lambda h: {"run_id": h.tenant.run(h.environment), "keys": RUN_KEYS},
    "leave_tenant_v1": lambda h: {"id": h.tenant.id},
    "list_connections_v1": lambda h: {"id": h.tenant.connection("bank/read", h.environment)},
    "list_dead_letters_v1": lambda h: {"workflow": h.slug, "limit": 50},
    "list_invitations_v1": lambda h: {"id": h.tenant.id},
    "list_kill_switches_v1": lambda h: {},
    "list_my_invitations_v1": lambda h: {"id": h.tenant.id},
    "list_permissions_v1": lambda h: {"id": h.tenant.id},
    "list_service_accounts_v1": lambda h: {"id": h.tenant.id},
    "list_tenants_v1": lambda h: {"tenant_id": h.tenant.id},
    "list_tools_v1": lambda h: {"name": NOTE},
    "me_v1": lambda h: {"tenant_id": h.tenant.id, "id": h.tenant.person("owner")},
    "move_incident_v1": lambda h: incidents.unresolved(h) | {"status": "resolved", "reason": "mine"},
    "narrow_api_key_v1": lambda h: {"id": h.tenant.key(h.environment), "scopes": ["tenant.read"]},
    "note_incident_v1": lambda h: _new() | {
        "incident_id": h.id("app.incidents"), "text": "mine", "link_type": "run",
        "link_id": h.tenant.run(h.environment),
    },
    "note_invitation_mail_v1": lambda h: _invitation(h) | {"mail": "sent"},
    "note_late_answer_v1": _late,
    "note_look_v1": lambda h: {"exception_id": h.waiting["id"], "observations": []},
    "note_read_v1": lambda h: {"observation_id": h.id("app.observations", "status = 'reading'"), "health": "failed"},
    "note_lost_webhook_secret_v1": lambda h: {"trigger_id": h.id("app.webhook_triggers"), "generation": 1},
    "note_requeues_v1": lambda h: {"results": [_dead(h)]},
    "open_channel_v1": _checked_channel,
    "open_incident_v1": lambda h: incidents.opening(h, "action", h.authorized()),
    "propose_amendment_v1": _amended,
    "propose_directory_change_v1": lambda h: directory.change(h.environment),
    "publish_constitution_v1": lambda h: {"rules": [], "reason": "mine", "expected_version": 1},
    "queue_run_v1": lambda h: _new() | {"workflow": h.slug, "instruction": "mine", "subject": None},
    "raise_alert_v1": lambda h: {
        "kind": "tests.raised", "severity": "info", "environment": h.environment, "subject_type": "run",
        "subject_id": h.tenant.run(h.environment), "title": "mine",
    },
    "controls_v1": lambda h: {"types": ["decision.made"]},
    "readiness_v1": lambda h: {"slug": h.slug, "version": 2},
    "reconcile_action_v1": lambda h: {
        "id": h.id("app.actions", "status = 'unknown'"), "outcome": "succeeded", "reason": "mine",
    },
    "record_action_v1": lambda h: h.world.proposal(h.tenant, environment=h.environment, by=h.tenant.system()),
    "record_evaluation_v1": _evaluated,
    "register_model_provider_v1": lambda h: models.provider(h.tenant, h.environment, name="mine"),
    "register_tool_v1": lambda h: _new() | {"contract": refund(title="mine")},
    "record_amendment_backtest_v1": lambda h: _amendment(h) | {"backtest": {"flips": []}, "backtest_version": 1},
    "reject_amendment_v1": lambda h: _amendment(h) | {"reason": "mine"},
    "reject_workflow_version_v1": lambda h: {"slug": h.slug, "version": 2, "reason": "mine"},
    "release_kill_switch_v1": lambda h: {"id": h.id("app.kill_switches", "status = 'engaged'"), "reason": "mine"},
    "remove_member_v1": lambda h: {"user_id": h.tenant.person("operator")},
    "request_erasure_v1": lambda h: _new() | {
        "subject": "m***", "reason": "mine", "searched_to": None, "run_ids": [h.tenant.run(h.environment)],
    },
    "requeue_action_v1": lambda h: {"id": h.id("app.actions", "status = 'dead_letter'"), "reason": "mine"},
    "report_outcome_v1": lambda h: _outcome(h),
    "repropose_action_v1": _stale,
    "repropose_exception_v1": lambda h: _by_hand(h),
    "repropose_dead_letter_v1": lambda h: _again(h, h.id("app.actions", "status = 'dead_letter'")),
    "resend_invitation_v1": _invitation,
    "resend_notification_v1": lambda h: {
        "channel_id": h.id("app.channels"), "id": h.id("app.notifications", "status = 'dead'"),
    },
    "resolve_alert_v1": lambda h: {"id": h.id("app.alerts", "status = 'open'"), "reason": "mine"},
    "review_incident_v1": lambda h: {"id": h.id("app.incidents", "status = 'resolved'")} | incidents.review(h.tenant),
    "restart_run_v1": lambda h: _new() | _run(h, "failed") | {"reason": "mine"},
    "revoke_api_key_v1": lambda h: {"id": h.tenant.key(h.environment)},
    "revoke_webhook_trigger_v1": lambda h: {"id": h.id("app.webhook_triggers")},
    "rotate_channel_v1": lambda h: {"id": h.id("app.channels"), "generation": 2, "envelope": channels.ENVELOPE},
    "rotate_webhook_secret_v1": lambda h: hooks.rotation(h.id("app.webhook_triggers")),
    "revoke_model_provider_v1": lambda h: {"id": h.id("app.model_providers")},
    "revoke_connection_v1": lambda h: {"id": h.tenant.connection("crm/write", h.environment)},
    "rotate_api_key_v1": lambda h: _new() | {
        "old_id": h.tenant.key(h.environment), "prefix": "cs_mine", "secret_hash": "22" * 32, "grace_seconds": 0,
    },
    "settle_model_call_v1": lambda h: models.ended(
        h.id("app.model_reservations", "id not in (select id from app.model_calls)")
    ),
    "settle_notification_v1": _leased,
    "send_attempt_v1": lambda h: h.attempt(),
    "set_confidence_threshold_v1": lambda h: {"workflow": h.slug, "tool": NOTE, "threshold": 0.9, "reason": "mine"},
    "settle_absent_v1": _absent,
    "settle_undo_step_v1": lambda h: _plan(h) | {
        "action_id": h.id("app.undo_steps", "status = 'waiting'", "action_id"), "code": "irreversible",
        "reason": "mine",
    },
    "start_run_v1": lambda h: _new() | {
        "workflow": h.slug, "trigger": "call", "instruction": "mine", "subject": None,
    },
    "start_scheduled_run_v1": lambda h: loops.scheduled(h.tenant, h.environment),
    "store_credential_v1": _tokens,
    "stored_decisions_v1": lambda h: {"limit": 50},
    "store_channel_rewrap_v1": lambda h: {
        "channel_id": h.id("app.channels"), "generation": 1, "envelope": channels.ENVELOPE.replace("k1", "k2"),
    },
    "store_model_rewrap_v1": lambda h: {
        "provider_id": h.id("app.model_providers"), "generation": 1, "envelope": "mine",
    },
    "store_run_keys_v1": lambda h: {"run_id": h.tenant.run(h.environment), "was": RUN_KEYS, "keys": RUN_KEYS},
    "store_rewrapped_v1": lambda h: _connection(h) | {"generation": 1, "envelope": "mine"},
    "store_webhook_rewrap_v1": lambda h: {
        "trigger_id": h.id("app.webhook_triggers"), "generation": 1, "envelope": hooks.ENVELOPE.replace("k1", "k2"),
    },
    "submit_constitution_draft_v1": lambda h: _draft(h, "draft"),
    "submit_workflow_version_v1": lambda h: {"slug": h.slug, "version": 3},
    "take_run_step_v1": lambda h: _held_run(h) | loops.step(detail={"said": "mine"}),
    "tell_overdue_follow_up_v1": lambda h: {"id": h.id("app.incident_follow_ups", "status = 'open'")},
    "tighten_confidence_v1": lambda h: {
        "workflow_id": h.tenant.workflow(h.environment), "tool": PAY, "threshold": 0.9, "reason": "mine",
        "evidence": {"judged": 20}, "seen_version": 1,
    },
    "transfer_ownership_v1": lambda h: {"user_id": h.tenant.person("operator")},
    "undo_run_v1": lambda h: _new() | {"run_id": h.tenant.run(h.environment), "reason": "mine"},
    "update_constitution_draft_v1": lambda h: constitutions.draft(id=_draft(h, "draft")["id"]) | {"if_match": None},
    "update_tenant_v1": lambda h: {"if_match": None, "name": "mine"},
    "sign_audit_head_v1": lambda h: {"seq": 1, "hash": "00", "signature": "s", "key_id": "k"},
    "owners_told_v1": lambda h: {"id": h.id("app.alerts")},
    "tell_owners_v1": lambda h: {"id": h.id("app.alerts", "kind = 'channel.failing'"), "again_seconds": 60},
    "tell_left_kill_switch_v1": lambda h: {"id": h.id("app.kill_switches")},
    "tell_ending_key_v1": lambda h: {"id": h.tenant.key(h.environment)},
    "tell_of_audit_v1": lambda h: {},
    "verify_audit_part_v1": lambda h: {"after": 0, "limit": 1000},
    "watch_audit_v1": lambda h: {"limit": 1000},
    "verify_audit_v1": lambda h: {"tenant_id": h.tenant.id},
    "verify_channel_v1": lambda h: {"id": h.id("app.channels")},
    "withdraw_constitution_draft_v1": lambda h: _draft(h, "draft") | {"reason": "mine"},
    "withdraw_amendment_v1": lambda h: _amendment(h) | {"reason": "mine"},
    "withdraw_directory_change_v1": lambda h: {"id": _proposed(h)["id"], "reason": "mine"},
    "withdraw_invitation_v1": _invitation,
    "withdraw_workflow_version_v1": lambda h: {"slug": h.slug, "version": 2},
}  # fmt: skip
