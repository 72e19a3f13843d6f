"""The connection that an action goes through: well, or nothing is written."""

from datetime import timedelta
from typing import Any

import pytest

from api.gate.models import ConnectionFacts, Outcome
from tests.unit.gate.world import NOW, contract, decided, facts, of, outcome_of, spec

ASKED = ["payments.write", "payments.read"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("pending", "signing in"),
        ("degraded", "may only read"),
        ("expired", "sign in again"),
        ("revoked", "disconnected"),
        ("", "The connection is ."),
        ("ACTIVE", "The connection is ACTIVE."),
        ("anything", "The connection is anything."),
    ],
)
def test_only_an_active_connection_writes(status: str, reason: str) -> None:
    decision = decided(facts(connection={"status": status}))
    assert decision.outcome is Outcome.DENY
    [found] = of(decision, "connection")
    assert (found.control, found.setting, found.outcome) == (4, "connections", Outcome.DENY)
    assert reason in found.message
    assert outcome_of(decision, "scope") is Outcome.ALLOW


def test_an_active_connection_writes() -> None:
    [found] = of(decided(), "connection")
    assert (found.outcome, "active" in found.message) == (Outcome.ALLOW, True)


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        (None, Outcome.ALLOW),
        (NOW + timedelta(microseconds=1), Outcome.ALLOW),
        (NOW, Outcome.DENY),
        (NOW - timedelta(days=400), Outcome.DENY),
    ],
)
def test_consent_ends(ends: Any, outcome: Outcome) -> None:
    decision = decided(facts(connection={"consent_expires_at": ends}))
    assert outcome_of(decision, "connection") is outcome
    if outcome is Outcome.DENY:
        assert "consent to this connection ended" in of(decision, "connection")[0].message


@pytest.mark.parametrize(
    ("granted", "told"),
    [
        (ASKED, None),
        (ASKED[::-1], None),
        (ASKED * 2, None),
        (None, None),
        ([*ASKED, "admin", "b"], "more than was asked for: admin, b"),
        (ASKED[:1], "less than was asked for; missing: payments.read"),
        ([], "less than was asked for; missing: payments.read, payments.write"),
    ],
)
def test_scopes_that_drift(granted: list[str] | None, told: str | None) -> None:
    decision = decided(facts(connection={"scopes_requested": ASKED, "scopes_granted": granted}))
    messages = [f.message for f in of(decision, "connection") if f.outcome is Outcome.DENY]
    assert messages == ([] if told is None else [f"The connection was granted {told}."])


def test_a_connection_that_drifted_both_ways_and_has_ended_says_all_of_it() -> None:
    held = {
        "status": "expired", "consent_expires_at": NOW, "scopes_requested": ASKED, "scopes_granted": ["else"],
    }  # fmt: skip
    assert len(of(decided(facts(connection=held)), "connection")) == 4


def test_facts_of_before_have_no_scopes_and_no_consent() -> None:
    stored = {"provider": "acme", "access": "write", "environment": "sandbox", "status": "active"}
    found = ConnectionFacts.model_validate(stored)
    assert (found.scopes_granted, found.scopes_requested, found.consent_expires_at) == (None, None, None)


def test_a_tool_that_its_client_executes_needs_none() -> None:
    external = contract(execution={"mode": "external"})
    decision = decided(facts(spec(connections={}), external, connections={}))
    [found] = of(decision, "connection")
    assert (found.outcome, "client executes" in found.message) == (Outcome.ALLOW, True)
    assert outcome_of(decision, "scope") is Outcome.ALLOW


def test_without_any_it_denies() -> None:
    assert outcome_of(decided(facts(spec(connections={}))), "connection") is Outcome.DENY
    assert outcome_of(decided(facts(connections={})), "connection") is Outcome.DENY
    assert outcome_of(decided(facts(contracts={})), "connection") is Outcome.ALLOW  # scope and contract deny
    assert decided(facts(contracts={})).outcome is Outcome.DENY
