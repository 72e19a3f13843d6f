"""People and keys that come, go and end at the same moment: an owner stays, nobody joins twice, nothing deadlocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256

import pytest

from api.ids import new_id
from sandbox.postgres import Server
from tests.concurrency.together import acting, bring_back, together, types_of
from tests.db.founding import peopled, world_from
from tests.db.names import ACME, GLOBEX, Row, soon
from tests.db.world import World

CONNECTIONS = 8


@pytest.fixture
def world(cluster: Server) -> Iterator[World]:
    """Two tenants, ready for business, in a database of this test's own."""
    with world_from(cluster, peopled(cluster)) as made:
        yield made


def test_two_owners_who_leave_at_once_leave_one(world: World) -> None:
    for _ in range(4):
        answers = together(world, [acting(world, ACME.user(who), "leave_tenant_v1", {}) for who in ("owner", "owner2")])
        assert sorted(answer.get("refused", "done") for answer in answers) == ["done", "last_owner"]
        (left,) = world.rows("select user_id::text from app.members where tenant_id = %s and role = 'owner'", ACME.id)
        stayed, gone = ("owner", "owner2") if left[0] == ACME.person("owner") else ("owner2", "owner")
        bring_back(world, stayed, gone)


def test_ownership_handed_over_and_taken_at_once_ends_with_an_owner(world: World) -> None:
    """One hands over to the admin, the other removes the one, and the admin leaves."""
    for _ in range(4):
        answers = together(
            world,
            [
                acting(world, ACME.user(), "transfer_ownership_v1", {"user_id": ACME.person("owner2")}),
                acting(world, ACME.user("owner2"), "leave_tenant_v1", {}),
                acting(world, ACME.user("owner2"), "transfer_ownership_v1", {"user_id": ACME.person("owner")}),
            ],
        )
        assert not [answer for answer in answers if answer.get("refused") == "40P01"], answers
        owners = world.rows("select user_id::text from app.members where tenant_id = %s and role = 'owner'", ACME.id)
        assert owners
        stayed = "owner" if (ACME.person("owner"),) in owners else "owner2"
        other = "owner2" if stayed == "owner" else "owner"
        if world.rows("select 1 from app.members where user_id = %s and role <> 'owner'", ACME.person(other)):
            world.call(ACME.user(stayed), "change_role_v1", {"user_id": ACME.person(other), "role": "owner"})
        elif not world.rows("select 1 from app.members where user_id = %s", ACME.person(other)):
            bring_back(world, stayed, other)


def test_an_invitation_is_accepted_once_and_not_after_it_was_withdrawn(world: World) -> None:
    for _ in range(4):
        invitation, person = str(new_id()), str(new_id())
        email = f"{invitation}@example.com"
        world.call(ACME.user(), "invite_v1", {"id": invitation, "email": email, "role": "auditor"})
        seen = world.last_event()
        claims = {"kind": "user", "sub": person, "tenant_id": None, "verified_email": email}
        accept = acting(world, claims, "accept_invitation_v1", {"id": invitation})
        withdraw = acting(world, ACME.user("admin"), "withdraw_invitation_v1", {"id": invitation})
        demote = acting(
            world, ACME.user("owner2"), "change_role_v1", {"user_id": ACME.person("owner"), "role": "auditor"}
        )
        answers = together(world, [accept, accept, withdraw, accept, demote])
        assert {answer.get("refused") for answer in answers} <= {None, "invitation_ended", "invitation_void"}
        told = [t for t in types_of(world, seen) if t.startswith("invitation.") or t == "member.added"]
        assert told in (["invitation.accepted", "member.added"], ["invitation.withdrawn"])
        world.call(ACME.user("owner2"), "change_role_v1", {"user_id": ACME.person("owner"), "role": "owner"})


def test_one_address_is_invited_once_at_a_time(world: World) -> None:
    invite = [{"id": str(new_id()), "email": "new@example.com", "role": "auditor"} for _ in range(CONNECTIONS)]
    answers = together(world, [acting(world, ACME.user(), "invite_v1", args) for args in invite])
    assert Counter(answer.get("refused") for answer in answers) == {None: 1, "already_invited": CONNECTIONS - 1}


def test_ending_keys_in_every_way_at_once_never_deadlocks(world: World) -> None:
    """Rotating, revoking, narrowing, using and disabling, and the person who issued them leaves."""
    for tenant in (ACME, GLOBEX):
        uses = [acting(world, tenant.service(), "me_v1", {}) for _ in range(2)]
        key: Row = {"id": str(new_id()), "prefix": "p", "secret_hash": sha256(new_id().bytes).hexdigest()}
        issued = key | {"id": str(new_id()), "service_account_id": tenant.agent, "environment": "sandbox"}
        issued |= {"scopes": ["tenant.read"], "expires_at": soon()}
        admin = tenant.user("admin")
        answers = together(
            world,
            [
                *uses,
                acting(world, admin, "rotate_api_key_v1", key | {"old_id": tenant.key(), "grace_seconds": 60}),
                acting(world, admin, "revoke_api_key_v1", {"id": tenant.key()}),
                acting(world, admin, "narrow_api_key_v1", {"id": tenant.key(), "scopes": ["tenant.read"]}),
                acting(world, admin, "create_api_key_v1", issued),
                acting(world, admin, "disable_service_account_v1", {"id": tenant.agent}),
                acting(world, tenant.user(), "leave_tenant_v1", {}),
            ],
        )
        refusals = {answer["refused"] for answer in answers if "refused" in answer}
        assert refusals <= {"unauthenticated", "key_not_active", "not_found"}, refusals
        assert world.call(tenant.user("auditor"), "verify_audit_v1")["ok"]
