"""Limits: what an action takes of each, and what is said when it does not fit."""

from typing import Any

import pytest

from api.gate.access_spec import Limit
from api.gate.case import Case
from api.gate.decide import decide
from api.gate.facts import LimitState
from api.gate.limits import MAX_CLAIMS, claims, states
from api.gate.models import Facts, Finding, Outcome
from tests.unit.gate.world import AGENT, NOW, TOOL, WORKFLOW, contract, facts, proposal, spec

SPEND = {"name": "spend", "window_hours": 24, "currency": "EUR", "max_amount": 10_000}
COUNT = {"name": "often", "window_hours": 1, "max_count": 3}


def held(*limits: dict[str, Any], states: dict[str, LimitState] | None = None, **changes: Any) -> Facts:
    return facts(spec(limits=list(limits)), **changes).model_copy(update={"limits": states or {}})


def findings(known: Facts, args: dict[str, Any] | None = None) -> list[Finding]:
    return [f for f in decide(proposal(args), known, NOW).findings if f.check == "limits"]


def key(name: str, *more: str, currency: str = "EUR") -> str:
    return "/".join([str(WORKFLOW), name, currency, *more])


@pytest.mark.parametrize(
    ("amount", "counted", "outcome"),
    [
        (5_000, 5_000, Outcome.ALLOW),
        (5_001, 5_000, Outcome.ESCALATE),
        (10_000, 0, Outcome.ALLOW),
        (10_001, 0, Outcome.ESCALATE),
        (1, 10_000, Outcome.ESCALATE),
        (0, 10_000, Outcome.ALLOW),
        (-5_001, 5_000, Outcome.ESCALATE),
    ],
)
def test_an_amount_fits_up_to_the_last_cent(amount: int, counted: int, outcome: Outcome) -> None:
    known = held(SPEND, states={key("spend"): LimitState(amount=counted, count=2)})
    [finding] = findings(known, {"to": "x", "amount": amount, "currency": "EUR"})
    assert finding.outcome is outcome
    assert finding.setting == "limits.spend"


@pytest.mark.parametrize(("counted", "outcome"), [(0, Outcome.ALLOW), (2, Outcome.ALLOW), (3, Outcome.ESCALATE)])
def test_actions_are_counted(counted: int, outcome: Outcome) -> None:
    known = held(COUNT, states={key("often", currency="-"): LimitState(count=counted)})
    assert [f.outcome for f in findings(known)] == [outcome]


def test_a_limit_may_deny() -> None:
    known = held(COUNT | {"exceeded": "deny"}, states={key("often", currency="-"): LimitState(count=3)})
    assert decide(proposal(), known, NOW).outcome is Outcome.DENY


def test_it_says_what_was_counted_and_what_the_ceiling_is() -> None:
    known = held(SPEND, states={key("spend"): LimitState(amount=9_990, count=30)})
    [finding] = findings(known, {"to": "x", "amount": 333, "currency": "EUR"})
    assert finding.message == (
        "More than the limit spend of 100.00 EUR within 24 hours: 99.90 EUR in 30 actions are counted already."
    )


def test_without_a_state_it_is_confirmed_when_it_is_recorded() -> None:
    [claim] = decide(proposal(), held(SPEND), NOW).limits
    assert (claim.key, claim.amount, claim.count, claim.over, claim.seen) == (key("spend"), 5_000, 1, False, None)
    # What is more than the whole limit needs nobody's state.
    [claim] = decide(proposal({"to": "x", "amount": 10_001, "currency": "EUR"}), held(SPEND), NOW).limits
    assert claim.over


def test_what_is_counted_apart() -> None:
    limit = SPEND | {"per": ["agent", "tool", "counterparty"]}
    case = Case(proposal(), held(limit), NOW)
    assert case.counterparties
    assert {claim.key for claim in claims(case)} == {
        key("spend", f"service:{AGENT}", TOOL, party) for party in case.counterparties
    }
    nobody = Case(proposal({"amount": 5, "currency": "EUR"}), held(SPEND | {"per": ["counterparty"]}), NOW)
    assert [claim.key for claim in claims(nobody)] == [key("spend", "unknown")]


def test_another_tool_or_currency_does_not_count() -> None:
    assert not claims(Case(proposal(), held(SPEND | {"tools": ["acme.other.create"]}), NOW))
    assert not claims(Case(proposal({"to": "x", "amount": 5, "currency": "USD"}), held(SPEND), NOW))
    assert claims(Case(proposal(), held(SPEND | {"tools": [TOOL]}), NOW))


def test_rules_read_the_states_and_err_without_them() -> None:
    rule = {"id": "nearly", "when": "limits.spend.remaining < 3000", "effect": "deny"}
    known = held(SPEND, states={key("spend"): LimitState(amount=8_000, count=1)}, rules=[rule])
    assert states(Case(proposal(), known, NOW)) == {
        "spend": {"max_amount": 10_000, "amount": 8_000, "count": 1, "remaining": 2_000}
    }
    assert all(claim.exact for claim in decide(proposal(), known, NOW).limits)
    assert not any(claim.exact for claim in decide(proposal(), held(SPEND), NOW).limits)


@pytest.mark.parametrize(
    "mistake",
    [
        {"name": "x", "window_hours": 1},
        {"name": "x", "window_hours": 1, "max_amount": 5},
        {"name": "x", "window_hours": 1, "max_count": 5, "currency": "EUR"},
        {"name": "x", "window_hours": 0, "max_count": 5},
        {"name": "x", "window_hours": 1, "max_count": 5, "per": ["agent", "agent"]},
        {"name": "x", "window_hours": 1, "max_count": -1},
    ],
)
def test_a_limit_that_limits_nothing_is_refused(mistake: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Limit.model_validate(mistake)


def test_two_limits_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="the same name"):
        spec(limits=[COUNT, COUNT | {"max_count": 4}])


def test_what_is_counted_for_too_many_is_denied_and_claims_a_bounded_number() -> None:
    """Each claim is a lock and a count in the database: an agent that names a crowd must not take them all."""
    tool = contract(arguments={"/items/*/to": {"role": "recipient"}}, input_schema={"type": "object"})
    limits = [{"name": f"n{n}", "window_hours": 1, "max_count": 9, "per": ["counterparty"]} for n in range(50)]
    known = held(*limits, tool=tool)
    crowd = {"items": [{"to": f"a{n}@b{n}.example"} for n in range(2000)]}
    decision = decide(proposal(crowd), known, NOW)
    assert len(decision.limits) == MAX_CLAIMS + 1
    assert [(f.outcome, f.setting) for f in findings(known, crowd)] == [(Outcome.DENY, "limits")]
    assert {f.outcome for f in findings(known, {"items": crowd["items"][:2]})} == {Outcome.ALLOW}


def test_amounts_beyond_what_the_database_counts_are_over() -> None:
    tool = contract(
        arguments={"/items/*": {"role": "amount", "fixed_currency": "EUR"}}, input_schema={"type": "object"}
    )
    decision = decide(proposal({"items": [2**53 - 1] * 2000}), held(SPEND, tool=tool), NOW)
    assert [(claim.amount, claim.over) for claim in decision.limits] == [(2**63 - 1, True)]
