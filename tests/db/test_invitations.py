"""Who lets in whoever decides exceptions, and how many mails a tenant sends: past the application, by direct SQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from api.ids import new_id
from tests.concurrency.together import acting, or_refused, together
from tests.db.attacks import refused_everywhere
from tests.db.names import ACME, GLOBEX, Row, Tenant
from tests.db.world import World


def invitation(role: str = "auditor", email: str = "") -> Row:
    made = str(new_id())
    return {"id": made, "email": email or f"{made}@example.com", "role": role}


def accepting(world: World, invited: Row) -> Row:
    """What becomes of it when the person to whom it was sent accepts."""
    claims = {
        "kind": "user",
        "sub": str(new_id()),
        "tenant_id": None,
        "aal": "aal1",
        "verified_email": invited["email"],
    }
    return or_refused(lambda: world.call(claims, "accept_invitation_v1", {"id": invited["id"]}))


def deciding(world: World) -> list[str]:
    (roles,) = world.rows("select roles from private.permissions where permission = 'exceptions.decide'")[0]
    return list(roles)


def past(world: World, statement: str) -> None:
    """Moves times, past the guards."""
    for each in (
        "alter table app.invitations disable trigger user",
        statement,
        "alter table app.invitations enable always trigger invitations_guard",
        "alter table app.invitations enable always trigger invitations_keep_columns",
        "alter table app.invitations enable always trigger zz_audit_change",
    ):
        world.rows(each)


def test_an_admin_lets_nobody_in_who_decides_exceptions(world: World) -> None:
    """He would approve with a second address what he proposes with the first."""
    admin, member = ACME.user("admin"), ACME.person("operator")
    assert set(deciding(world)) == {"owner", "approver"}
    for role in deciding(world):
        with world.refuses("owner_required"):
            world.call(admin, "invite_v1", invitation(role))
        with world.refuses("owner_required"):
            world.call(admin, "change_role_v1", {"user_id": member, "role": role})
        owners = invitation(role)
        world.call(ACME.user(), "invite_v1", owners)
        with world.refuses("owner_required"):
            world.call(admin, "resend_invitation_v1", {"id": owners["id"]})
        refused_everywhere(
            world, "update app.invitations set invited_by = %s where id = %s", ACME.person("admin"), owners["id"],
            claims=admin, reasons=("owner_required",),
        )  # fmt: skip
        assert accepting(world, owners)["role"] == role
    for role in ("admin", "operator", "developer", "auditor"):
        assert world.call(admin, "invite_v1", invitation(role))["status"] == "open"
        if role != "operator":
            world.call(admin, "change_role_v1", {"user_id": member, "role": role})


def test_which_roles_these_are_is_what_the_permissions_say(world: World) -> None:
    given = invitation("operator")
    world.call(ACME.user("admin"), "invite_v1", given)
    world.rows("update private.permissions set roles = '{owner,operator}' where permission = 'exceptions.decide'")
    with world.refuses("owner_required"):
        world.call(ACME.user("admin"), "invite_v1", invitation("operator"))
    # What he had invited to is void by now.
    assert accepting(world, given) == {"refused": "invitation_void"}
    assert world.call(ACME.user("admin"), "invite_v1", invitation("approver"))["status"] == "open"


def test_an_invitation_of_who_is_no_owner_any_more_is_void_for_who_decides(world: World) -> None:
    """Also while he may still invite to every other role."""
    approver, auditor = invitation("approver"), invitation("auditor")
    for given in (approver, auditor):
        world.call(ACME.user("owner2"), "invite_v1", given)
    world.call(ACME.user(), "change_role_v1", {"user_id": ACME.person("owner2"), "role": "admin"})
    with world.unchanged():
        assert accepting(world, approver) == {"refused": "invitation_void"}
    listed: Any = world.call(ACME.user(), "list_invitations_v1")
    shown = {i["id"]: i["status"] for i in listed}
    assert (shown[approver["id"]], shown[auditor["id"]]) == ("void", "open")
    with world.refuses("owner_required"):
        world.call(ACME.user("owner2"), "resend_invitation_v1", {"id": approver["id"]})
    assert accepting(world, auditor)["role"] == "auditor"
    # An owner stands behind it anew.
    world.call(ACME.user(), "resend_invitation_v1", {"id": approver["id"]})
    assert accepting(world, approver)["role"] == "approver"


def told_to_wait(world: World, tenant: Tenant, function: str, args: Row) -> int:
    """The seconds after which a refusal says to try again; its sentence names the moment."""
    with world.unchanged(), pytest.raises(psycopg.Error) as refused:
        world.call(tenant.user(), function, args)
    said = refused.value.diag
    assert (refused.value.sqlstate, said.message_detail) == ("CS429", "too_many_invitations")
    assert said.message_hint is not None
    assert said.message_primary is not None
    (hint,) = json.loads(said.message_hint)
    named = said.message_primary.split("Try again after ")[1].removesuffix(" UTC.")
    moment = datetime.strptime(named, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert abs((moment - datetime.now(UTC)).total_seconds() - hint["retry_after"]) < 30
    return int(hint["retry_after"])


def test_a_tenant_invites_fifty_times_a_day_withdrawn_or_not(world: World) -> None:
    past(world, "update app.invitations set created_at = now() - interval '2 days'")
    for n in range(49):
        given = invitation(email=f"stranger{n % 2}@example.com")
        world.call(ACME.user("admin" if n % 3 else "owner"), "invite_v1", given)
        world.call(ACME.user(), "withdraw_invitation_v1", {"id": given["id"]})
    # Of those who ask for the last one at the same moment one gets it.
    answers = together(world, [acting(world, ACME.user(), "invite_v1", invitation()) for _ in range(6)])
    assert sorted(a.get("refused", "invited") for a in answers) == ["invited", *["too_many_invitations"] * 5]
    assert 86000 < told_to_wait(world, ACME, "invite_v1", invitation()) <= 86400
    world.call(GLOBEX.user(), "invite_v1", invitation())
    past(world, "update app.invitations set created_at = created_at - interval '23 hours'")
    assert 3000 < told_to_wait(world, ACME, "invite_v1", invitation()) <= 3600
    past(world, "update app.invitations set created_at = created_at - interval '1 hour'")
    world.call(ACME.user(), "invite_v1", invitation())


def test_an_invitation_is_sent_again_once_a_minute_and_five_times_a_day(world: World) -> None:
    given, other = invitation(), invitation()
    for each in (given, other):
        world.call(ACME.user(), "invite_v1", each)
    again, minute = (
        {"id": given["id"]},
        "update app.invitations set resent_at = array(select r - interval '61 s' from unnest(resent_at) r)",
    )
    answers = together(world, [acting(world, ACME.user(), "resend_invitation_v1", again) for _ in range(4)])
    assert sorted(a.get("refused", "sent") for a in answers) == ["sent", *["too_many_invitations"] * 3]
    for _ in range(4):
        assert 0 < told_to_wait(world, ACME, "resend_invitation_v1", again) <= 60
        past(world, minute)
        world.call(ACME.user("admin"), "resend_invitation_v1", again)
    past(world, minute)
    assert 80000 < told_to_wait(world, ACME, "resend_invitation_v1", again) <= 86400
    world.call(ACME.user(), "resend_invitation_v1", {"id": other["id"]})
    past(world, "update app.invitations set resent_at = array(select r - interval '1 day' from unnest(resent_at) r)")
    world.call(ACME.user(), "resend_invitation_v1", again)
