"""A person whose session at Supabase Auth is over is nobody here, with the very next statement, through every door."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from api.ids import new_id
from tests.db.attacks import standing
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World, refusal

OVER = "update auth.sessions set not_after = now() - interval '1 second' where id = %s"
#: How a session ends: signed out here or everywhere, its time is over, or the person is gone.
ENDS = {
    "signed out": "delete from auth.sessions where id = %s",
    "its time is over": OVER,
    "the person is gone": "delete from auth.users u using auth.sessions s where s.id = %s and u.id = s.user_id",
}


def rename(name: str) -> Row:
    return {"if_match": None, "name": name, "separation_of_duties": None, "reason": None}


@pytest.mark.parametrize("how", ENDS)
def test_every_door_is_closed_to_who_has_signed_out(world: World, how: str) -> None:
    owner, stays = ACME.user(), ACME.user("owner2")
    key, request = str(new_id()), "0" * 64
    world.call(owner, "update_tenant_v1", rename("before"), key=key, request=request)
    world.rows(ENDS[how], ACME.session("owner"))
    for function, args in (
        ("me_v1", {}),
        ("update_tenant_v1", rename("after")),
        ("list_tenants_v1", {}),  # nor what is there for people in no tenant
        ("list_my_invitations_v1", {}),
        ("create_tenant_v1", {"id": str(new_id()), "name": "x", "email": "a@b.example", "constitution": {}}),
    ):
        with refusal("session_ended", note=function):
            world.call(owner, function, args)
    with refusal("session_ended", note="a stored answer"):
        world.call(owner, "update_tenant_v1", rename("before"), key=key, request=request)
    with world.api.transaction(), refusal("session_ended", note="reads"):
        world.api.execute("select app.begin_v1(%s, 'tenant.read')", (json.dumps(owner),))
    assert world.value("select name from app.tenants where tenant_id = %s", ACME.id) == "before"
    world.call(stays, "me_v1")
    world.call(owner | {"session_id": None}, "me_v1")  # a token that names no session has none to lose
    world.call(ACME.service(), "me_v1")


def test_where_auth_is_elsewhere_only_the_owner_of_the_database_says(world: World) -> None:
    elsewhere = "update private.auth_place set here = false"
    for name in ("authenticated", "countersign_api", "service_role"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), standing(world, name) as caller:
            caller.execute(elsewhere)
    world.owner.execute(elsewhere)
    world.rows(ENDS["signed out"], ACME.session("owner"))
    world.call(ACME.user(), "me_v1")


def test_a_session_is_its_own_persons(world: World) -> None:
    for foreign in (ACME.session("owner2"), GLOBEX.session("owner"), str(new_id())):
        with refusal("session_ended"):
            world.call(ACME.user(session_id=foreign), "me_v1")


def test_past_the_doors_nothing_is_seen_and_nothing_done(world: World) -> None:
    """As the API's role with the claims set by hand, and as the owner of the tables, who runs the functions."""
    world.rows(ENDS["signed out"], ACME.session("owner"))
    claims = json.dumps(ACME.user())
    for role in ("countersign_api", "postgres"):
        connection = world.connection(role, "past the doors")
        with connection.transaction(force_rollback=True):
            connection.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
            connection.execute("set local role authenticated")
            assert connection.execute("select count(*) from app.tenants").fetchone() == (0,), role
            with refusal("unauthenticated", note=role), connection.transaction():
                connection.execute("select app.update_tenant_v1(%s)", (json.dumps(rename("x")),))


def test_who_signs_out_while_a_request_waits_has_it_refused(world: World) -> None:
    """The request came in while the session was good, and waits for the tenant's lock as it ends."""
    with ThreadPoolExecutor(1) as pool, world.database.connect("superuser", autocommit=False) as holds:
        holds.execute("select private.lock_tenant(%s, true)", (ACME.id,))
        waits = pool.submit(_rename, world)
        world.until_somebody_waits(waits)
        world.rows(ENDS["signed out"], ACME.session("owner"))
        holds.rollback()
        assert waits.result(timeout=120) == "unauthenticated"


def _rename(world: World) -> Any:
    """The code of its refusal, or the answer."""
    with world.waiter() as connection:
        try:
            return world.call(ACME.user(), "update_tenant_v1", rename("late"), connection=connection)
        except psycopg.Error as error:
            return error.diag.message_detail
