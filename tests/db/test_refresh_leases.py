"""A refresh belongs to whoever holds its lease: a slower one's failure does nothing to it."""

from __future__ import annotations

from tests.db.names import ACME, Row, soon
from tests.db.world import World

WRITE = ACME.connection("bank/write")


def _claim(world: World, **more: float) -> Row:
    attempt = world.claim(world.authorized())
    args = {"connection_id": WRITE, "claimed_for": attempt["attempt_id"], "generation": 1}
    return world.call(ACME.system("refresh_tokens"), "claim_refresh_v1", args | more)


def _fails(world: World, lease: Row, *, final: bool) -> Row:
    failure = {"connection_id": WRITE, "generation": 1, "reason": "invalid_grant", "final": final}
    return world.call(ACME.system(), "fail_refresh_v1", failure | {"lease_until": lease["lease_until"]})


def _lapses(world: World) -> None:
    """Lets the lease run out, as when a function is frozen in the middle of an exchange."""
    world.rows(
        "update app.credentials set refresh_lease_until = now() - interval '1 second' where connection_id = %s", WRITE
    )


def test_the_slower_of_two_does_not_end_what_the_faster_one_was_given(world: World) -> None:
    """Both offer the same refresh token; a provider that takes each once refuses the one that comes second."""
    slow = _claim(world)
    _lapses(world)
    fast = _claim(world)
    assert (slow["claimed"], fast["claimed"]) == (True, True)
    for final in (False, True):
        assert _fails(world, slow, final=final) == {"recorded": False}
    assert not _claim(world)["claimed"]
    tokens = {"connection_id": WRITE, "envelope": "sealed:new", "token_expires_at": soon(), "replaces": 1}
    stored = world.call(ACME.system(), "store_credential_v1", tokens)
    assert (stored["generation"], stored["status"]) == (2, "active")


def test_whoever_holds_the_lease_ends_the_connection(world: World) -> None:
    assert _fails(world, _claim(world), final=True)["final"]
    assert world.value("select status from app.connections where id = %s", WRITE) == "expired"
    assert world.value("select secret_id from app.credentials where connection_id = %s", WRITE) is None


def test_a_lease_lasts_as_long_as_it_is_needed_and_not_for_ever(world: World) -> None:
    left = (
        "select extract(epoch from refresh_lease_until - now())::integer from app.credentials where connection_id = %s"
    )
    for asked, given in ((65, 65), (1, 30), (86400, 300)):
        _lapses(world)
        assert _claim(world, lease_seconds=asked)["claimed"]
        assert abs(world.value(left, WRITE) - given) < 10
