"""Access specs for the tests of the workflows slice: one that holds together, and any number of made-up ones."""

from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from api.gate.models import AccessSpec
from api.providers.manifest import manifests

CONTRACTS = {c.name: c for m in manifests().values() for c in m.contracts()}
PAY, NOTE = "sandbox_bank.payments.create", "sandbox_crm.notes.create"
BILLS = "sandbox_bank.bills.list"
ONE, TWO = UUID(int=1), UUID(int=2)


def a_spec(**changes: Any) -> AccessSpec:
    """Pays bills within limits, and writes notes alone."""
    known = ["financial", "personal", "internal"]
    both = {"read": ONE, "write": TWO}
    spec: dict[str, Any] = {
        "purpose": "Pay vendor bills",
        "owner": "olive@example.com",
        "escalation_contact": "amara@example.com",
        "stage": "autonomous",
        "connections": {"sandbox_bank": both, "sandbox_crm": both},
        "tools": {
            BILLS: {"access": "read", "read_fields": ["/bills/*/id", "/bills/*/iban"]},
            PAY: {"access": "write", "records": {"/from_account": ["acc_operating"]}, "data_classes": known},
            NOTE: {"access": "write", "irreversible_alone": True, "data_classes": ["internal"]},
        },
        "value_max": {"EUR": 100_000},
        "data_classes": known,
    }
    return AccessSpec.model_validate(spec | changes)


def with_tool(tool: str, **changes: Any) -> AccessSpec:
    """The spec with some of one tool's settings changed."""
    spec = a_spec().model_dump()
    spec["tools"][tool] |= changes
    return AccessSpec.model_validate(spec)


_FIELDS = st.lists(st.sampled_from(["/a", "/a/*", "/a/*/b", "/a/0/b", "/c", "/c/d"]), unique=True, max_size=3)
_CEILINGS = st.dictionaries(st.sampled_from(["EUR", "JPY"]), st.sampled_from([0, 100, 500]), max_size=2)
_CLASSES = st.lists(st.sampled_from(["personal", "financial", "internal"]), unique=True, max_size=3)
_CONFIDENCE = st.sampled_from([0.0, 0.5, 0.9])
_APPROVALS = st.fixed_dictionaries(
    {
        "count": st.integers(1, 2),
        "roles": st.lists(st.sampled_from(["owner", "approver"]), unique=True, min_size=1),
        "aal": st.sampled_from(["aal1", "aal2"]),
    }
)
_INSIDERS = st.lists(st.sampled_from(["a@ours.example", "@ours.example"]), unique=True, max_size=2)
_PSEUDONYMS = st.booleans() | st.lists(st.sampled_from(["iban", "email"]), unique=True, max_size=2)
_OUTBOUND = st.fixed_dictionaries(
    {
        "recipients": _INSIDERS,
        "templates": st.lists(st.sampled_from(["Hello {name}", "Bye"]), unique=True, max_size=2),
        "any_text": st.booleans(),
    }
)
_LIMIT = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["one", "two"]),
        "per": st.lists(st.sampled_from(["agent", "tool"]), unique=True, max_size=2),
        "tools": st.lists(st.sampled_from(["a.b", "a.c"]), unique=True, max_size=2),
        "window_hours": st.sampled_from([1, 24]),
        "max_count": st.sampled_from([1, 5]),
        "exceeded": st.sampled_from(["escalate", "deny"]),
    }
).flatmap(
    lambda limit: st.sampled_from(
        [limit, *(limit | {"max_amount": most, "currency": c} for most in (100, 500) for c in ("EUR", "JPY"))]
    )
)
_GRANTS = st.fixed_dictionaries(
    {
        "access": st.sampled_from(["read", "write"]),
        "read_fields": _FIELDS,
        "arguments": st.none() | _FIELDS,
        "records": st.dictionaries(
            st.sampled_from(["/x", "/y"]), st.lists(st.sampled_from([1, "1", "z"]), max_size=2), max_size=2
        ),
        "confidence_min": st.none() | _CONFIDENCE,
        "value_max": _CEILINGS,
        "approvals": st.none() | _APPROVALS,
        "data_classes": _CLASSES,
        "irreversible_alone": st.booleans(),
        "outbound": st.none() | _OUTBOUND,
        "asserted": st.sampled_from(["untrusted", "contract"]),
    }
)
_BINDINGS = st.fixed_dictionaries({"read": st.sampled_from([None, ONE, TWO]), "write": st.sampled_from([None, ONE])})


@st.composite
def specs(draw: st.DrawFn) -> AccessSpec:
    """Specs of few values each, so that two of them often agree in much and differ in something."""
    days = draw(st.sampled_from([10, 20]))
    return AccessSpec.model_validate(
        {
            "purpose": draw(st.sampled_from(["this", "that"])),
            "owner": "a@example.com",
            "escalation_contact": draw(st.sampled_from(["a@example.com", "b@example.com"])),
            "stage": draw(st.sampled_from(["shadow", "supervised", "autonomous"])),
            "connections": draw(st.dictionaries(st.sampled_from(["bank", "crm"]), _BINDINGS, max_size=2)),
            "tools": draw(st.dictionaries(st.sampled_from(["a.b", "a.c"]), _GRANTS, min_size=1, max_size=2)),
            "confidence_min": draw(_CONFIDENCE),
            "value_max": draw(_CEILINGS),
            "approvals": draw(_APPROVALS),
            "approval_hours": draw(st.integers(1, 2)),
            "data_classes": draw(_CLASSES),
            "retention_days": days,
            "limits": draw(st.lists(_LIMIT, unique_by=lambda limit: limit["name"], max_size=2)),
            "risk": {"escalate_at": draw(st.sampled_from([40, 60])), "deny_at": draw(st.sampled_from([80, 101]))},
            "counterparty_approvals": draw(st.integers(1, 2)),
            "insiders": draw(_INSIDERS),
            "pseudonyms": draw(_PSEUDONYMS),
            "retention": draw(st.dictionaries(st.sampled_from(["personal", "internal"]), st.integers(9, days))),
        }
    )
