"""What people say on an exception: theirs, of now, never changed, seen by people alone, and erased with the run."""

from __future__ import annotations

import json

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import OWNER, refused_everywhere
from tests.db.names import ACME, GLOBEX, Row
from tests.db.test_erasure import age, erase, found
from tests.db.world import World

WORDS = "Mr Vantongeren ordered this by telephone"


def _said(world: World, text: str = WORDS) -> Row:
    args = {"id": str(new_id()), "exception_id": world.payment().exception, "text": text}
    return args | world.call(ACME.user("approver"), "comment_exception_v1", args)


def _add(said: Row, **changed: object) -> str:
    values = {"id": new_id(), "exception_id": said["exception_id"], "user_id": ACME.person("owner")} | changed
    return (
        "insert into app.exception_comments"
        " (tenant_id, id, environment, exception_id, run_id, action_id, user_id, text, digest, created_at)"
        f" values ('{ACME.id}', '{values['id']}', 'sandbox', '{values['exception_id']}',"
        f" gen_random_uuid(), gen_random_uuid(), '{values['user_id']}', 'x', 'sha256:x', '2020-01-01')"
    )


def test_it_is_the_persons_and_of_now(world: World) -> None:
    said = _said(world)
    row = world.value("select to_jsonb(c) from app.exception_comments c where id = %s", said["id"])
    assert (row["user_id"], row["text"], row["run_id"]) == (str(ACME.person("approver")), WORDS, ACME.run())
    [event] = [e for e in world.events(ACME) if e["type"] == "comment.added"]
    assert event["subject"]["id"] == said["id"]
    assert event["what"]["exception_id"] == said["exception_id"]
    assert event["what"]["digest"] == said["digest"] == row["digest"]
    assert found(world, WORDS) == ["app.exception_comments.text"]


def test_nobody_speaks_for_another(world: World) -> None:
    """Not even the tables' owner, whose row is stamped as any other's."""
    said = _said(world)
    for claims in ({}, GLOBEX.user(), ACME.service("production"), ACME.system(), ACME.user("approver")):
        refused_everywhere(
            world, _add(said), claims=claims, vantages=OWNER,
            reasons=("unauthenticated", "permission_denied", "people_only"),
        )  # fmt: skip
    for claims in (GLOBEX.user(), ACME.service("production"), ACME.system(), ACME.user("auditor")):
        with world.refuses("not_found", "permission_denied", "people_only"):
            world.call(claims, "comment_exception_v1", {**_args(said), "id": str(new_id())})


def _args(said: Row) -> Row:
    return {name: said[name] for name in ("id", "exception_id", "text")}


@pytest.mark.parametrize(
    "attack",
    [
        "update app.exception_comments set text = 'x'",
        "update app.exception_comments set erased_at = now()",
        "delete from app.exception_comments",
        "truncate app.exception_comments",
    ],
)
def test_what_was_said_stays_said(world: World, attack: str) -> None:
    _said(world)
    for claims in ({}, ACME.user("approver"), ACME.system("purge_expired")):
        refused_everywhere(world, attack, claims=claims, vantages=OWNER, reasons=("append_only",))


@pytest.mark.parametrize("text", ["", "   ", "x" * 4001])
def test_nothing_and_too_much_are_refused(world: World, text: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        _said(world, text)


def test_keys_of_agents_read_none(world: World) -> None:
    _said(world)
    for claims, seen in ((ACME.user("auditor"), 1), (ACME.service(), 0), (GLOBEX.user(), 0)):
        with world.api.transaction():
            world.api.execute("select app.begin_v1(%s, 'exceptions.read')", (json.dumps(claims),))
            assert world.api.execute("select count(*) from app.exception_comments").fetchone() == (seen,)


def test_it_is_erased_with_the_run(world: World) -> None:
    said = _said(world)
    action = world.value("select action_id::text from app.exceptions where id = %s", said["exception_id"])
    world.call(ACME.user("operator"), "cancel_action_v1", {"id": action, "reason": "over"})
    age(world, 400)
    assert erase(world, ACME.run()) == 1
    assert found(world, WORDS) == []
    left = world.value("select to_jsonb(c) from app.exception_comments c where id = %s", said["id"])
    assert (left["text"], left["digest"], left["user_id"]) == ("", said["digest"], str(ACME.person("approver")))
    with world.refuses("erased"):
        world.call(ACME.user("approver"), "comment_exception_v1", {**_args(said), "id": str(new_id())})
    assert world.verified()["ok"]
