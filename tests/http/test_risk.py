"""The risk of an automation in outline, over HTTP: the same table as the gate's, and a policy that grants nothing."""

from typing import Any, get_args

import httpx
import pytest

from api.gate.models import HARD_GATES, Effect
from api.gate.risk import AUTONOMY, EFFECT, IRREVERSIBLE, MITIGATIONS, SENSITIVITY, VALUE_ABOVE
from api.risk.models import Autonomy, Sensitivity
from sandbox.organisation import Organisation, ok
from tests.http.integrator import NOTE, Agent, issue_key, join, note, objections
from tests.http.problems import problem, unchanged
from tests.http.world import World

URL = "/v1/risk/score"
UPDATE: dict[str, Any] = {
    "effect": "write",
    "data_sensitivity": "internal",
    "autonomy": "autonomous",
    "reversible": True,
}
PAY: dict[str, Any] = {"effect": "money_movement", "data_sensitivity": "financial", "autonomy": "autonomous"}


def scored(company: Organisation, **knobs: Any) -> dict[str, Any]:
    answer: dict[str, Any] = ok(company.owner.api.post(URL, json=knobs))
    return answer


def test_an_ordinary_update_is_allowed(shared: Organisation) -> None:
    found = scored(shared, **UPDATE)
    assert (found["score"], found["verdict"]) == (EFFECT["write"] + AUTONOMY["autonomous"], "allow")
    assert {factor["name"]: factor["points"] for factor in found["factors"]} == {"effect": 5, "autonomy": 8}
    assert found["mitigations"] == []
    assert found["reasons"] == ["The score is below 50."]


def test_the_score_is_the_sum_of_what_it_names(shared: Organisation) -> None:
    found = scored(shared, **PAY, amount_band="above", mitigations={"read_back": True, "idempotency": True})
    parts = [part["points"] for part in found["factors"] + found["mitigations"]]
    assert found["score"] == sum(parts)
    raised = EFFECT["money_movement"] + IRREVERSIBLE + SENSITIVITY["financial"] + AUTONOMY["autonomous"] + VALUE_ABOVE
    assert found["score"] == raised - sum(MITIGATIONS[name][0] for name in ("read_back", "idempotency", "approvals"))
    assert all(part["why"] for part in found["factors"] + found["mitigations"])


@pytest.mark.parametrize("effect", sorted(HARD_GATES))
def test_a_hard_gate_is_never_allowed(shared: Organisation, effect: str) -> None:
    everything = dict.fromkeys(MITIGATIONS, True)
    for autonomy in get_args(Autonomy):
        knobs = {"effect": effect, "data_sensitivity": "public", "autonomy": autonomy, "reversible": True}
        found = scored(shared, **knobs, mitigations=everything)
        assert found["verdict"] == "allow_with_approvals"
        assert "every time" in found["reasons"][0]
        assert all(lower["verdict"] != "allow" for lower in found["would_lower"])


@pytest.mark.parametrize("effect", get_args(Effect))
@pytest.mark.parametrize("autonomy", ["supervised", "autonomous"])
def test_what_is_secret_is_not_automated(shared: Organisation, effect: str, autonomy: str) -> None:
    knobs = {"effect": effect, "data_sensitivity": "secret", "autonomy": autonomy}
    found = scored(shared, **knobs, mitigations=dict.fromkeys(MITIGATIONS, True))
    assert (found["verdict"], "secret" in found["reasons"][0]) == ("do_not_automate", True)
    other = next(lower for lower in found["would_lower"] if lower["what"] == "data_sensitivity: internal")
    assert other["verdict"] in ("allow", "allow_with_approvals")


def test_a_payment_without_anything_in_place_is_not_automated_and_what_would_lower_it_does(
    shared: Organisation,
) -> None:
    knobs = PAY | {"amount_band": "ceiling"}
    found = scored(shared, **knobs)
    assert found["verdict"] == "do_not_automate"
    named = {lower["what"].split(":")[0] for lower in found["would_lower"]}
    assert {"mitigations.read_back", "mitigations.known_counterparty", "autonomy", "reversible"} <= named
    assert "mitigations.reviewed_templates" not in named  # a payment is no message
    assert "mitigations.approvals" not in named  # people approve it anyway
    assert [lower["score"] for lower in found["would_lower"]] == sorted(
        lower["score"] for lower in found["would_lower"]
    )
    promised = next(lower for lower in found["would_lower"] if lower["what"].startswith("mitigations.read_back"))
    then = scored(shared, **knobs, mitigations={"read_back": True})
    assert (then["score"], then["verdict"]) == (promised["score"], promised["verdict"])
    assert then["score"] == found["score"] - promised["by"]
    assert then["verdict"] == "allow_with_approvals"


def test_a_message_is_a_draft_until_it_is_read(shared: Organisation) -> None:
    knobs = {"effect": "outbound_message", "data_sensitivity": "pii", "autonomy": "autonomous"}
    found = scored(shared, **knobs)
    assert (found["verdict"], "draft" in found["reasons"][0]) == ("allow_with_approvals", True)
    assert scored(shared, **knobs, mitigations={"reviewed_templates": True})["verdict"] == "allow"


def test_more_sensitive_data_and_more_autonomy_never_score_lower(shared: Organisation) -> None:
    order = ("public", "internal", "confidential", "pii", "financial", "regulated", "secret")
    assert set(order) == set(get_args(Sensitivity))
    for knob, values in (("data_sensitivity", order), ("autonomy", ("shadow", "supervised", "autonomous"))):
        scores = [scored(shared, **(PAY | {knob: value}))["score"] for value in values]
        assert scores == sorted(scores)


@pytest.mark.parametrize(
    ("amount", "points"),
    [
        ({}, 0),
        ({"amount_band": "none"}, 0),
        ({"amount_band": "quarter"}, 2),
        ({"value": 2500, "ceiling": 10000}, 2),
        ({"value": 2501, "ceiling": 10000}, 4),
        ({"value": 10000, "ceiling": 10000}, 8),
        ({"value": 10001, "ceiling": 10000}, 10),
        ({"value": 0, "ceiling": 0}, 0),
        ({"value": 1, "ceiling": 0}, 10),
        ({"amount_band": "above"}, 10),
    ],
)
def test_the_amount(shared: Organisation, amount: dict[str, Any], points: int) -> None:
    found = scored(shared, **PAY, **amount)
    assert sum(factor["points"] for factor in found["factors"] if factor["name"] == "value") == points


@pytest.mark.parametrize(
    "body",
    [
        {},
        PAY | {"effect": "anything"},
        PAY | {"data_sensitivity": "harmless"},
        PAY | {"autonomy": "free"},
        PAY | {"value": 5},
        PAY | {"value": 5, "ceiling": 9, "amount_band": "half"},
        PAY | {"value": -1, "ceiling": 9},
        PAY | {"mitigations": {"prayer": True}},
        PAY | {"score": 3},
    ],
)
def test_what_is_no_outline(shared: Organisation, body: dict[str, Any]) -> None:
    problem(shared.owner.api.post(URL, json=body), 422, "invalid_request")


def test_who_may_read_workflows_may_ask_and_nothing_is_recorded(shared: Organisation, world: World) -> None:
    auditor = join(shared, "auditor")
    key = issue_key(shared, scopes=["workflows.read"])
    unscoped = issue_key(shared, scopes=["runs.read"])
    with unchanged(world):
        assert ok(auditor.api.post(URL, json=PAY)) == scored(shared, **PAY)
        for held, status in ((key, 200), (unscoped, 403), ({"secret": "cs_sandbox_none"}, 401)):
            headers = {"Authorization": f"Bearer {held['secret']}"}
            with httpx.Client(base_url=shared.stack.url["api"], headers=headers) as agent:
                assert agent.post(URL, json=PAY).status_code == status


def test_a_decision_shows_its_score(agent: Agent) -> None:
    action = agent.propose(NOTE, note())
    risk = action["decision"]["risk"]
    assert risk["score"] == sum(part["points"] for part in risk["factors"] + risk["mitigations"])
    assert risk["score"] < 50
    assert "risk" not in objections(action)
