"""What an undo is made of: values with their types, nothing that was not changed, and nothing that is not known."""

from __future__ import annotations

from typing import Any

import pytest

from api.execution.compensate import left_by
from api.execution.target import change
from api.execution.undo_args import Known, UnmadeError, differences, left_behind, places, undo_args
from api.gate.models import Compensation, Contract, State
from api.providers.manifest import manifests

NAMES = frozenset({"id", "version", "title", "email"})


def known(**more: Any) -> Known:
    parts: dict[str, Any] = {
        "args": {"id": "c1", "version": 3, "title": "New"},
        "names": NAMES,
        "result": {"id": "c1", "items": [{"id": 7}], "gone": None},
        "before": {"title": "Old", "email": "old@example.test", "a/b": {"c": True}},
        "now": {"version": 9},
    }
    return Known(**(parts | more))


def test_values_keep_their_types_and_the_unchanged_is_left_out() -> None:
    template = {"id": "{id}", "version": "{now/version}", "title": "{before/title}", "email": "{before/email}"}
    assert undo_args(template, known()) == {"id": "c1", "version": 9, "title": "Old"}


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ({"x": "{result/items/0/id}"}, {"x": 7}),
        ({"x": "of {id} by {result/items/0/id}"}, {"x": "of c1 by 7"}),
        ({"x": {"inner": ["{title}", "{email}"]}}, {"x": {"inner": ["New"]}}),
        ({"x": "{before/a~1b/c}"}, {"x": True}),
        ({"x": "{email}"}, {}),
        ({"x": 5, "y": None}, {"x": 5, "y": None}),
    ],
)
def test_templates(template: dict[str, Any], made: dict[str, Any]) -> None:
    assert undo_args(template, known()) == made


@pytest.mark.parametrize("part", ["{result/nothing}", "{result/gone}", "{before/phone}", "{now/id}", "{unknown}"])
def test_what_is_not_known_makes_no_undo(part: str) -> None:
    with pytest.raises(UnmadeError, match=part[1:-1]):
        undo_args({"x": part}, known())


@pytest.mark.parametrize("source", ["result", "before", "now"])
def test_nothing_kept_makes_no_undo(source: str) -> None:
    with pytest.raises(UnmadeError):
        undo_args({"x": f"{{{source}/id}}"}, known(**{source: None}))


def test_a_value_adds_no_placeholder() -> None:
    """What a provider answers is put in once, and not read again as a template."""
    assert undo_args({"x": "{result/id} "}, known(result={"id": "{title}"})) == {"x": "{title} "}


def test_differences_are_of_the_fields_that_count() -> None:
    left, now = {"a": 1, "b": "", "v": 1}, {"a": 2, "v": 2}
    assert differences(["/a", "/b"], left, now) == ["/a"]
    assert differences(["/a"], left, {"a": 1, "v": 9}) == []
    assert differences(["/a"], left, {}) == ["/a"]


CONTRACTS = {contract.name: contract for contract in manifests()["sandbox_crm"].contracts()}
READ = {"args": {"contact_id": "c1"}, "result": {"title": "Old", "name": "A"}}


def nested(fields: list[str], **put_back: str) -> Contract:
    """A contract whose state shows its arguments elsewhere and under other names, as most providers do."""
    update = CONTRACTS["sandbox_crm.contacts.update"]
    state = State(tool="sandbox_crm.contacts.get", args={"contact_id": "{contact_id}"}, fields=fields)
    undo = Compensation(tool=update.name, args={"contact_id": "{contact_id}"} | put_back)
    return update.model_copy(update={"state": state, "compensate": undo})


def test_where_an_argument_shows_is_what_the_undo_takes_it_from() -> None:
    """A state as it would become is told by it, and what a change left behind where nobody read it."""
    told = nested(["/data/Title", "/data/mail"], title="{before/data/Title}", email="{before/data/mail}")
    assert places(told) == {"title": "/data/Title", "email": "/data/mail"}
    args, was = {"contact_id": "c1", "title": "New"}, {"data": {"Title": "Old", "mail": "a@example.test", "id": 1}}
    shown = change(told, args, was)
    assert shown == {
        "now": {"title": "Old", "email": "a@example.test"}, "then": {"title": "New", "email": "a@example.test"},
    }  # fmt: skip
    assert left_behind(told, args, was) == {"data": {"Title": "New", "mail": "a@example.test"}}

    # What no argument is known to show in is not said to stay as it is.
    silent = nested(["/data/Title", "/data/mail"], title="{before/data/Title}")
    assert change(silent, args, was) == {"now": {"title": "Old"}, "then": {"title": "New"}}
    assert left_behind(silent, args, was) is None
    assert change(nested(["/data/mail"]), args, was) is None
    assert change(nested(["/lines/*/mail"], email="{before/lines/0/mail}"), args, was) is None


def test_what_a_change_leaves_behind() -> None:
    update = CONTRACTS["sandbox_crm.contacts.update"]
    args = {"contact_id": "c1", "title": "New", "email": ""}
    was = {"title": "Old", "phone": "1", "id": "c1"}
    assert left_behind(update, args, was) == {"title": "New", "email": "", "phone": "1"}


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({"after": READ | {"result": {"title": "Read"}}}, {"title": "Read"}),
        ({}, {"title": "New", "name": "A"}),  # the read after it failed
        ({"before": None}, None),  # nobody knows what else was there
        ({"after": READ | {"erased_at": "2026-11-28"}}, None),
        ({"before": READ | {"erased_at": "2026-11-28"}, "after": None}, None),
    ],
)
def test_what_an_action_left_behind(more: dict[str, Any], left: Any) -> None:
    done = {"args": {"contact_id": "c1", "version": 1, "title": "New"}, "before": READ, "after": None, "result": {}}
    found, args = left_by(done | more, CONTRACTS["sandbox_crm.contacts.update"])
    assert found == left
    assert (args is None) == (left is None)


def test_what_was_created_is_what_was_asked_for() -> None:
    done: dict[str, Any] = {"args": {"name": "B", "email": "b@example.test"}, "before": None, "after": None}
    contract = CONTRACTS["sandbox_crm.contacts.create"]
    assert left_by(done | {"result": {"id": "c2"}}, contract) == (done["args"], {"contact_id": "c2"})
    assert left_by(done | {"result": None}, contract) == (None, None)
