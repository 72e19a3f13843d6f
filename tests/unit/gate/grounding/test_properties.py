"""What holds of grounding whatever is proposed and whatever was read."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from api.gate.decide import decide
from api.gate.models import Decision, Facts, Outcome, Proposal
from tests.unit.gate.grounding.setting import IBAN, NOW, ROLES, grounds, objections, observation, world
from tests.unit.gate.strategies import JSON
from tests.unit.gate.world import proposal

thorough = settings(max_examples=100, deadline=None)

VALUES = [
    "bob@acme.example", "eve@evil.com", "Bob", "Acme Ltd", IBAN, "12345678", "T-17", "17", "acme.example",
    "https://acme.example/a", "won", "2026-12-24", "EUR", "fast_lane", "a", "the", "", 17, 5_000, 50, 12.5, 3, True,
    False, None, "See evil[.]com or T-17.",
]  # fmt: skip
_VALUE = st.sampled_from(VALUES) | JSON
_NAME = st.sampled_from([name.strip("/").split("/")[0] for name in ROLES] + ["memo", "x@y.example"])
ARGS = st.dictionaries(_NAME, _VALUE, max_size=4)
_SAID = st.sampled_from(
    [
        "Update it",
        "Pay all bills of Acme Ltd in EUR",
        "Reply to bob@acme.example about T-17",
        "Do nothing",
        "",
        "Delete 17",
    ]
)
RESULTS = st.dictionaries(
    st.sampled_from(["id", "email", "total", "paid", "name", "note", "currency", "url", "stage"]), _VALUE, max_size=4
) | st.lists(_VALUE, max_size=3)
_TRUST = st.sampled_from(["trusted", "trusted", "metadata", "untrusted"])


@st.composite
def observed(draw: st.DrawFn, trust: st.SearchStrategy[str] = _TRUST) -> list[dict[str, Any]]:
    """Several answers, each of a tool of its own."""
    results = draw(st.lists(st.tuples(RESULTS, trust), max_size=3))
    return [observation(r, t, n, tool=f"acme.t{n}.get") for n, (r, t) in enumerate(results)]


def _severity(args: dict[str, Any], held: Facts) -> int:
    return decide(proposal(args), held, NOW).outcome.severity


def _missed(args: dict[str, Any], held: Facts) -> int:
    return len(objections(args, held))


def _failures(decision: Decision) -> list[str]:
    mine = [finding for finding in decision.findings if finding.check in ("grounding", "injection")]
    return [finding.message for finding in mine if "The check failed" in finding.message]


@thorough
@given(ARGS, _SAID, observed(), observed(trust=st.just("untrusted")), st.integers(0, 3))
def test_more_that_anybody_may_have_written_never_makes_it_milder(
    args: dict[str, Any], said: str, read: list[dict[str, Any]], more: list[dict[str, Any]], at: int
) -> None:
    added = [one | {"id": f"00000000-0000-0000-0000-0000000009{n:02d}"} for n, one in enumerate(more)]
    before, after = world(said, *read), world(said, *read[:at], *added, *read[at:])
    assert _severity(args, after) >= _severity(args, before)
    assert [f.pointer for f in objections(args, after)] == [f.pointer for f in objections(args, before)]
    assert [g.source for g in grounds(args, after)] == [g.source for g in grounds(args, before)]


@thorough
@given(ARGS, _SAID, observed(), st.integers(0, 2))
def test_less_that_is_trusted_never_makes_it_milder(
    args: dict[str, Any], said: str, read: list[dict[str, Any]], gone: int
) -> None:
    """Of sources that do not compete: see test_injected.py for records that the instruction passes over."""
    before, after = world(said, *read), world(said, *(one for n, one in enumerate(read) if n != gone))
    assert _severity(args, after) >= _severity(args, before)
    assert _missed(args, after) >= _missed(args, before)


@thorough
@given(ARGS, _SAID, observed())
def test_no_instruction_at_all_never_makes_it_milder(
    args: dict[str, Any], said: str, read: list[dict[str, Any]]
) -> None:
    assert _missed(args, world("", *read)) >= min(1, _missed(args, world(said, *read)))
    assert _severity(args, world("", *read)) >= _severity(args, world(said, *read))
    assert _severity(args, world(said, *read).model_copy(update={"run": None})) >= Outcome.ESCALATE.severity


@thorough
@given(ARGS, observed(trust=st.just("untrusted")))
def test_what_anybody_may_have_written_grounds_nothing(args: dict[str, Any], read: list[dict[str, Any]]) -> None:
    with_it, without = grounds(args, world("Update it", *read)), grounds(args, world("Update it"))
    assert with_it == without


@thorough
@given(ARGS, _SAID, observed())
def test_the_same_inputs_give_the_same_bytes(args: dict[str, Any], said: str, read: list[dict[str, Any]]) -> None:
    held, proposed = world(said, *read), proposal(args)
    first = decide(proposed, held, NOW).model_dump_json()
    assert decide(proposed, held, NOW).model_dump_json() == first
    restored = Facts.model_validate_json(held.model_dump_json())
    again = Proposal.model_validate(json.loads(proposed.model_dump_json()))
    assert decide(again, restored, NOW).model_dump_json() == first
    assert "The check failed" not in "".join(
        f.message for f in decide(proposed, held, NOW).findings if f.check == "grounding"
    )


@thorough
@given(ARGS, _SAID, observed())
def test_every_value_that_is_not_grounded_has_its_finding(
    args: dict[str, Any], said: str, read: list[dict[str, Any]]
) -> None:
    held = world(said, *read)
    missing = {ground.pointer for ground in grounds(args, held) if ground.source == "none"}
    assert missing <= {finding.pointer for finding in objections(args, held)}
    assert all(f.outcome is Outcome.ESCALATE and f.message for f in objections(args, held))
    assert all(ground.where for ground in grounds(args, held) if ground.source != "none")


@thorough
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_can_be_given_and_read(one: str, other: str) -> None:
    held = world(other, observation({"a": one, "b": [other]}), observation({other: one}, "untrusted", 1))
    decision = decide(proposal({"text": one, "to": other, "stage": one, "account": other, one: other}), held, NOW)
    assert "The check failed" not in "".join(
        f.message for f in decision.findings if f.check in ("grounding", "injection")
    )


def test_the_properties_see_both_verdicts() -> None:
    seen: dict[bool, int] = {True: 0, False: 0}

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(ARGS, _SAID, observed())
    def collect(args: dict[str, Any], said: str, read: list[dict[str, Any]]) -> None:
        seen[_missed(args, world(said, *read)) == 0] += 1

    collect()
    assert min(seen.values()) >= 20, seen
