"""What people say on an exception: theirs, of now, never changed, and seen by nobody else's tenant."""

from __future__ import annotations

import psycopg
import pytest

from api.ids import new_id
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World


def _said(world: World, text: str = "Who ordered this?") -> tuple[Row, Row]:
    args = {"id": str(new_id()), "exception_id": world.payment().exception, "text": text}
    return args, world.call(ACME.user("approver"), "comment_exception_v1", args)


def test_it_is_the_persons_and_of_now(world: World) -> None:
    args, said = _said(world)
    assert (said["user_id"], said["text"]) == (str(ACME.person("approver")), args["text"])
    event = next(e for e in world.events(ACME) if e["type"] == "comment.added" and e["subject"]["id"] == args["id"])
    assert event["what"]["exception_id"] == args["exception_id"]
    assert args["text"] not in str(event)


def test_nobody_speaks_for_another(world: World) -> None:
    """Not even the tables' owner, whose row is stamped as any other's."""
    args, _ = _said(world)
    forged = (
        "insert into app.exception_comments (tenant_id, id, environment, exception_id, user_id, text, digest,"
        " created_at)
        " values (%s, gen_random_uuid(), 'production', %s, %s, 'x', 'sha256:x', '2020-01-01')"
    )
    with world.refuses("unauthenticated", "permission_denied", "people_only"):
        world.rows(forged, ACME.id, args["exception_id"], ACME.person("owner"))
    for claims in (GLOBEX.user(), ACME.service("production"), ACME.system(), ACME.user("auditor")):
        with world.refuses("not_found", "permission_denied", "people_only"):
            world.call(claims, "comment_exception_v1", args | {"id": str(new_id())})


@pytest.mark.parametrize(
    "attack",
    [
        "update app.exception_comments set text = 'x'",
        "delete from app.exception_comments",
        "truncate app.exception_comments",
    ],
)
def test_what_was_said_stays_said(world: World, attack: str) -> None:
    _said(world)
    with world.refuses("append_only"):
        world.rows(attack)


@pytest.mark.parametrize("text", ["", "   ", "x" * 4001])
def test_nothing_and_too_much_are_refused(world: World, text: str) -> None:
    with world.refuses(psycopg.errors.CheckViolation):
        _said(world, text)
