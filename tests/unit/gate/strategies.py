"""Worlds and proposals of every well-formed kind, for properties that must hold in all of them."""

from datetime import timedelta
from typing import Any, get_args
from uuid import UUID

from hypothesis import strategies as st

from api.gate.models import Effect, Facts, Proposal
from tests.unit.gate.world import AGENT, NOW, SCHEMA, TOOL, WORKFLOW, WRITE, contract, facts, proposal, spec

OTHER = "other.things.do"

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)

_TRUSTED_AMOUNTS = [1, 2_500, 4_999, 5_000, 9_999, 10_000, 14_999, 15_000, 20_000]
#: Asks for what friendly worlds do, to whom they do it, and has read amounts that a record vouches for.
_RUN: dict[str, Any] = {
    "id": UUID(int=5),
    "instruction": "Pay DE1 or DE2 what the bills say, and send them word.",
    "observations": [
        {
            "id": UUID(int=60),
            "tool": "acme.bills.list",
            "source": "gateway",
            "result": {"amounts": _TRUSTED_AMOUNTS},
            "labels": {"/amounts/*": {"trust": "trusted"}},
        }
    ],
}

_FITTING = st.fixed_dictionaries(
    {
        "to": st.sampled_from(["DE1", "DE2"]),
        "amount": st.sampled_from(_TRUSTED_AMOUNTS) | st.integers(-20_000, 20_000),
        "currency": st.just("EUR"),
    },
    optional={"account": st.sampled_from(["a", 1, True, 1.0]), "note": st.text(max_size=5)},
)
_STRANGE = st.fixed_dictionaries(
    {},
    optional={
        "to": JSON,
        "amount": JSON,
        "currency": st.sampled_from(["EUR", "USD", "eur", None, 5]),
        "account": JSON,
        "items": st.lists(
            st.fixed_dictionaries({}, optional={"amount": st.integers(0, 9_000), "id": JSON}), max_size=2
        ),
        "a/b~": JSON,
        "": st.none(),
    },
)
#: Arguments that fit the contract; of the contract and strangers beside them; and anything.
ARGUMENTS = st.one_of(_FITTING, _FITTING, _FITTING, _STRANGE, st.dictionaries(st.text(max_size=5), JSON, max_size=2))

_CERTAINTY = st.sampled_from([0.0, 0.5, 0.8, 0.9, 1.0]) | st.floats(0, 1)

#: Expressions that are blind to what the agent claims, so that a rule cannot make more of it severe.
BLIND = [
    "true",
    "false",
    "args.missing",
    "workflow.stage == 'supervised'",
    "principal.kind == 'service'",
    "1 / 0 == 1",
    "(",
]
SEEING = [
    "args.amount > 5000",
    "action.confidence < 0.5",
    "'to' in args && args.to == 'DE1'",
    "size(args) == 0",
    "size(action.citations) == 0",
    "args.items[0].amount > 1",
    "action.effect == 'money_movement'",
    "now.getHours('Europe/Berlin') > 8",
    "args",
    "args.meta",
]

_APPROVALS = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers(1, 10),
        "roles": st.lists(st.sampled_from(["owner", "admin", "approver"]), min_size=1, max_size=3, unique=True),
        "aal": st.sampled_from(["aal1", "aal2"]),
    },
)


def rules(expressions: list[str] = BLIND + SEEING) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "id": st.sampled_from(["r-1", "r-2", "r-3"]),
            "when": st.sampled_from(expressions),
            "effect": st.sampled_from(["deny", "require_approval", "allow"]),
        },
        optional={
            "applies_to": st.lists(st.sampled_from(["*", TOOL, "acme.*", "other.*", "?"]), min_size=1, max_size=2),
            "lifts": st.lists(st.sampled_from(["confidence", "value", "risk", "counterparty"]), max_size=3),
            "approvals": _APPROVALS,
            "expires_at": st.sampled_from([NOW, NOW - timedelta(days=1), NOW + timedelta(days=1), None]),
        },
    )


_POINTERS = st.sampled_from(["", "/to", "/amount", "/currency", "/items/*/id", "/items", "/meta", "/a~1b~0", "/", "/*"])
_GRANTS = st.fixed_dictionaries(
    {"access": st.sampled_from(["write", "write", "write", "read"])},
    optional={
        "arguments": st.none() | st.lists(_POINTERS, max_size=6),
        "records": st.dictionaries(_POINTERS, st.lists(st.sampled_from(["DE1", "a", 1, 0]), max_size=2), max_size=2),
        "confidence_min": st.none() | st.floats(0, 1),
        "value_max": st.dictionaries(st.sampled_from(["EUR", "USD"]), st.integers(0, 15_000), max_size=2),
        "approvals": st.none() | _APPROVALS,
    },
)
_SWITCHES = st.fixed_dictionaries(
    {
        "id": st.just(UUID(int=70)),
        "scope": st.sampled_from(["tenant", "workflow", "connection", "tool", "service_account"]),
        "target": st.sampled_from([str(WORKFLOW), str(WRITE), TOOL, str(AGENT), "", "None", OTHER]),
        "reason": st.text(min_size=1, max_size=5),
    }
)


_SCHEMAS: list[dict[str, Any]] = [SCHEMA, {"type": "object"}, {"type": "nonsense"}]
_AMOUNTS: list[dict[str, Any]] = [
    {"/amount": {"role": "amount", "currency": "/currency"}},
    {"/items/*/amount": {"role": "amount", "currency": "/currency"}, "/meta": {"role": "amount"}},
    {},
]
#: Made once: a world differs from another in more than its contract.
_CONTRACTS = {
    effect: [contract(effect=effect, input_schema=schema, arguments=a) for schema in _SCHEMAS for a in _AMOUNTS]
    for effect in get_args(Effect)
    if effect != "read"
}
_FRIENDLY: dict[str, Any] = {"stage": "autonomous", "connections": {"acme": {"write": WRITE}}}


@st.composite
def worlds(draw: st.DrawFn, expressions: list[str] = BLIND + SEEING, effects: list[str] | None = None) -> Facts:
    """Facts of one workflow; most of them such that only thresholds and rules stand in the way."""
    friendly = draw(st.sampled_from([True, True, False]))
    grant: dict[str, Any] = {"access": "write"} if friendly else draw(_GRANTS)
    changes: dict[str, Any] = _FRIENDLY | {
        "tools": {TOOL: grant} | draw(st.sampled_from([{}, {OTHER: {"access": "write"}}])),
        "confidence_min": draw(_CERTAINTY),
        "value_max": draw(st.sampled_from([{"EUR": 15_000}, {"EUR": 5_000, "USD": 0}, {"EUR": 20_000}, {}])),
    }
    connection: dict[str, Any] = {}
    switches: list[dict[str, Any]] = []
    if friendly:
        tool = _CONTRACTS[draw(st.sampled_from(effects or ["write", "outbound_message"]))][0]
    else:
        changes["stage"] = draw(st.sampled_from(["autonomous", "supervised", "shadow"]))
        changes["connections"] = draw(st.sampled_from([{"acme": {"write": WRITE}}, {}, {"acme": {"read": WRITE}}]))
        changes["approvals"] = draw(_APPROVALS)
        odd: list[dict[str, Any]] = [{}, {"status": "revoked"}, {"environment": "production"}, {"provider": "x"}]
        connection = draw(st.sampled_from(odd))
        switches = draw(st.lists(_SWITCHES, max_size=2))
        tool = draw(st.sampled_from(_CONTRACTS[draw(st.sampled_from(effects or sorted(_CONTRACTS)))]))
    return facts(
        spec(**changes),
        tool,
        rules=draw(st.lists(rules(expressions), max_size=draw(st.sampled_from([0, 1, 3])))),
        connection=connection,
        kill_switches=switches,
        known_tools={TOOL: {"version": 4, "effect": tool.effect}, OTHER: {"version": 1, "effect": "destructive"}},
        run=draw(st.sampled_from([_RUN, _RUN, _RUN, None])),
    )


def proposals() -> st.SearchStrategy[Proposal]:
    return st.builds(
        proposal,
        args=ARGUMENTS,
        tool=st.sampled_from([TOOL] * 8 + [OTHER, TOOL.upper(), TOOL + "\N{ZERO WIDTH SPACE}", ""]),
        confidence=st.one_of(_CERTAINTY, _CERTAINTY, _CERTAINTY, st.none()),
        citations=st.lists(st.text(max_size=5), max_size=2),
        subject=st.none() | st.dictionaries(st.text(max_size=5), JSON, max_size=2),
        principal=st.sampled_from([{"kind": k, "id": i} for k in ("user", "service", "system") for i in (AGENT, None)]),
        edited_by=st.sampled_from([None, None, None, UUID(int=8)]),
    )
