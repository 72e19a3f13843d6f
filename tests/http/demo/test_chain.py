"""Recomputing the audit chain from an export: every kind of tampering is noticed, and where."""

import json
from hashlib import sha256
from typing import Any

import pytest

from sandbox.demo.chain import forged, verify

TENANT = "01a1f96c-4969-71e1-a23b-f9aba09dd6db"


def _chain(length: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    previous = sha256(TENANT.encode()).digest()
    for seq in range(1, length + 1):
        record = json.dumps({"seq": seq, "tenant_id": TENANT, "at": f"2026-11-20T10:00:00.00000{seq}Z"})
        own = sha256(previous + record.encode()).digest()
        events.append({"seq": seq, "record": record, "prev_hash": previous.hex(), "hash": own.hex()})
        previous = own
    return events


def test_a_whole_chain_holds_and_answers_its_head() -> None:
    events = _chain(5)
    verdict = verify(TENANT, events)
    assert (verdict.events, verdict.broken_at, verdict.head) == (5, None, events[-1]["hash"])
    assert verify(TENANT, []).head == sha256(TENANT.encode()).hexdigest()


def test_another_tenants_chain_is_none_of_this_ones() -> None:
    assert verify(TENANT.replace("0", "1"), _chain(2)).broken_at == 1


def test_a_changed_record_is_noticed_where_it_is() -> None:
    at, copy = forged(_chain(5))
    assert verify(TENANT, copy).broken_at == at == 3


@pytest.mark.parametrize(
    ("tamper", "broken_at"),
    [
        (lambda e: e[:2] + e[3:], 3),
        (lambda e: e[1:], 1),
        (lambda e: [e[1], e[0], *e[2:]], 1),
        (lambda e: [*e[:2], e[1], *e[2:]], 3),
        (lambda e: [*e[:3], {**e[3], "seq": 9}, e[4]], 4),
        (lambda e: [*e[:3], {**e[3], "hash": "00" * 32}, e[4]], 4),
        (lambda e: [*e[:3], {**e[3], "record": "[1"}, e[4]], 4),
    ],
)
def test_removed_moved_repeated_and_renumbered_events_are_noticed(tamper: Any, broken_at: int) -> None:
    assert verify(TENANT, tamper(_chain(5))).broken_at == broken_at


def test_a_record_that_says_another_place_is_noticed_though_its_hash_fits() -> None:
    (event,) = _chain(1)
    record = event["record"].replace('"seq": 1', '"seq": 2')
    own = sha256(bytes.fromhex(event["prev_hash"]) + record.encode()).hexdigest()
    assert verify(TENANT, [{**event, "record": record, "hash": own}]).broken_at == 1
