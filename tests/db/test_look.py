"""What waits for a person is looked at for that person, while it waits, and not without end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from psycopg import errors

from api.ids import new_id
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import Action, World, refusal

MORE = """
    insert into app.observations (tenant_id, id, environment, run_id, tool, contract_version, connection_id, source,
        status, args, lease_expires_at, action_id, purpose)
    select tenant_id, gen_random_uuid(), environment, run_id, tool, contract_version, connection_id, source,
        status, args, lease_expires_at, action_id, purpose
    from app.observations, generate_series(1, 59) where id = %s returning 1
"""


def look(world: World, action: Action, **more: object) -> Row:
    return world.observation(ACME, "production", action_id=action.id, purpose="look") | more


def test_it_is_looked_at_while_it_waits_by_nobody_but_the_executor(world: World) -> None:
    action = world.payment()
    for claims in (ACME.user(), ACME.user("approver"), ACME.user("operator"), ACME.service()):
        with refusal("permission_denied", note=claims):
            world.call(claims, "claim_observation_v1", look(world, action))
    with refusal("not_waiting", note="another tenant's"):
        world.call(GLOBEX.system("look"), "claim_observation_v1", look(world, action))
    with refusal("not_waiting", note="another run's"):
        world.call(ACME.system("look"), "claim_observation_v1", look(world, action, run_id=ACME.undone()))
    seen = look(world, action)
    assert "credential" in world.call(ACME.system("look"), "claim_observation_v1", seen)
    told = {"id": seen["id"], "status": "succeeded", "result": {}, "labels": {}}
    assert world.call(ACME.system("look"), "finish_observation_v1", told)["purpose"] == "look"
    world.call(ACME.user(), "decide_exception_v1", world.verdict(action, verdict="reject", reason="no"))
    with refusal("not_waiting", note="decided"):
        world.call(ACME.system("look"), "claim_observation_v1", look(world, action))


def test_it_is_looked_at_sixty_times_an_hour_at_most(world: World) -> None:
    action, seen = world.payment(), []
    world.call(ACME.system("look"), "claim_observation_v1", first := look(world, action))
    seen = world.rows(MORE, first["id"])
    assert len(seen) == 59
    with refusal("too_many_looks"):
        world.call(ACME.system("look"), "claim_observation_v1", look(world, action))
    other = world.payment()
    world.call(ACME.system("look"), "claim_observation_v1", look(world, other))
    # What is noted are reads of the exception itself, by who may decide it.
    noted = {"exception_id": action.exception, "observations": [first["id"]]}
    assert world.call(ACME.user("approver"), "note_look_v1", noted) == noted
    for observations in ([str(new_id())], [first["id"], first["id"]]):
        with refusal("not_found", note=observations):
            world.call(ACME.user(), "note_look_v1", noted | {"observations": observations})
    with refusal("not_found"):
        world.call(ACME.user(), "note_look_v1", noted | {"exception_id": other.exception})
    with refusal("permission_denied"):
        world.call(ACME.user("operator"), "note_look_v1", noted)


def test_a_connection_is_looked_over_six_hundred_times_an_hour_at_most(world: World) -> None:
    """Whatever is looked at: what was approved needs the rest of its calls."""
    world.call(ACME.system("look"), "claim_observation_v1", first := look(world, world.payment()))
    assert len(world.rows(MORE.replace("59)", "598)"), first["id"])) == 598
    other, third = world.payment(), world.payment()
    world.call(ACME.system("look"), "claim_observation_v1", look(world, other))
    with refusal("too_many_looks"):
        world.call(ACME.system("look"), "claim_observation_v1", look(world, third))
    # What the executor reads of it, and what an agent reads, is no look.
    assert "credential" in world.call(ACME.service(), "claim_observation_v1", world.observation())
    world.rows("alter table app.observations disable trigger user")
    world.rows("update app.observations set created_at = now() - interval '61 minutes' where purpose = 'look'")
    world.call(ACME.system("look"), "claim_observation_v1", look(world, third))


def test_two_who_look_at_once_are_two(world: World) -> None:
    """The sixtieth is under way while the next one comes, which waits and is refused."""
    action = world.payment()
    world.call(ACME.system("look"), "claim_observation_v1", first := look(world, action))
    world.rows(MORE.replace("59)", "58)"), first["id"])
    late = look(world, action)
    with ThreadPoolExecutor(1) as pool, world.database.connect(autocommit=False) as holds:
        world.call(ACME.system("look"), "claim_observation_v1", look(world, action), connection=holds)
        waits = pool.submit(_claim, world, late)
        world.until_somebody_waits(waits)
        holds.commit()
        assert waits.result(timeout=120) == "too_many_looks"


def _claim(world: World, asked: Row) -> object:
    """The code of its refusal, or the answer."""
    with world.waiter() as connection:
        try:
            return world.call(ACME.system("look"), "claim_observation_v1", asked, connection=connection)
        except errors.Error as error:
            return error.diag.message_detail


def test_a_read_for_an_action_says_what_for(world: World) -> None:
    action = world.payment()
    world.call(ACME.system("look"), "claim_observation_v1", first := look(world, action))
    for purpose in ("gaze", None):
        changed = MORE.replace("action_id, purpose\n    from", "action_id, %s\n    from")
        with refusal(errors.CheckViolation, note=purpose), world.owner.transaction():
            world.owner.execute(changed.encode(), (purpose, first["id"]))
