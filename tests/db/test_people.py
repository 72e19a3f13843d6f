"""How people join and what a tenant decides about itself, attacked past the application, by the tables' owner too."""

from __future__ import annotations

from api.ids import new_id
from tests.db.attacks import OWNER, refused_everywhere, standing
from tests.db.names import ACME, GLOBEX, Row
from tests.db.world import World


def invited(world: World, role: str = "operator", who: str = "owner", email: str = "new@example.com") -> str:
    invitation = {"id": str(new_id()), "email": email, "role": role}
    return str(world.call(ACME.user(who), "invite_v1", invitation)["id"])


def person(email: str = "new@example.com", **more: str) -> Row:
    """Claims of somebody without a tenant, with the address that is confirmed to be his."""
    return {"kind": "user", "sub": str(new_id()), "tenant_id": None, "aal": "aal1", "verified_email": email} | more


def test_nobody_becomes_a_member_uninvited(world: World) -> None:
    """Not by a row, not by a row in the inviter's name, and not with an invitation that was accepted before."""
    row = "insert into app.members values (%s, %s, %s, %s)"
    for role in ("owner", "auditor"):
        for claims in (None, ACME.user(), person()):
            values = (ACME.id, str(new_id()), role, "new@example.com")
            refused_everywhere(world, row, *values, claims=claims, reasons=("not_invited",))
    claims = person()
    world.call(claims, "accept_invitation_v1", {"id": invited(world)})
    world.call(ACME.user(), "remove_member_v1", {"user_id": claims["sub"]})
    refused_everywhere(
        world, row, ACME.id, claims["sub"], "operator", "new@example.com", claims=claims, reasons=("not_invited",)
    )


def test_an_invitation_is_accepted_as_it_was_given(world: World) -> None:
    """As another role, by another person, with another address, in another's name: refused from everywhere."""
    invitation, claims = invited(world), person()
    accepting = "update app.invitations set status = 'accepted', accepted_by = %s where id = %s"
    for forged in (
        None,
        ACME.user(),
        GLOBEX.user(),
        person("other@example.com"),
        person(),
        claims | {"kind": "system"},
    ):
        refused_everywhere(world, accepting, claims["sub"], invitation, claims=forged, reasons=("not_invited",))
    for change in ("role = 'owner'", "email = 'other@example.com'", f"tenant_id = '{GLOBEX.id}'"):
        refused_everywhere(
            world, f"update app.invitations set {change} where id = %s", invitation, claims=ACME.user(),
            reasons=("immutable_column", "people_only"),
        )  # fmt: skip
    with world.refuses("not_invited"), standing(world, "owner", claims) as owner:
        owner.execute(accepting.encode(), (claims["sub"], invitation))
        owner.execute(
            "insert into app.members values (%s, %s, 'owner', 'new@example.com')", (ACME.id, claims["sub"])
        )  # fmt: skip
    assert world.call(claims, "accept_invitation_v1", {"id": invitation})["role"] == "operator"


def test_who_invites_may_and_does_it_in_his_own_name(world: World) -> None:
    row = (
        "insert into app.invitations (tenant_id, id, email, role, invited_by, expires_at)"
        " values (%s, gen_random_uuid(), 'x@example.com', %s, %s, now() + interval '1 year')"
    )
    for claims, role, by, reason in (
        (None, "auditor", "owner", "unauthenticated"),
        (ACME.user("admin"), "auditor", "owner", "own_name"),
        (ACME.user("admin"), "owner", "admin", "owner_required"),
        (ACME.user("admin"), "approver", "admin", "owner_required"),
        (ACME.user("approver"), "auditor", "approver", "permission_denied"),
        (ACME.user("owner", "aal1"), "auditor", "owner", "aal2_required"),
        (GLOBEX.user(), "auditor", "owner", "people_only"),
        (ACME.service(), "auditor", "owner", "permission_denied"),
    ):
        values = (ACME.id, role, ACME.person(by))
        refused_everywhere(world, row, *values, claims=claims, reasons=(reason,))
    with standing(world, "owner", ACME.user()) as owner:
        owner.execute(row.encode(), (ACME.id, "auditor", ACME.person("owner")))
    # However long it was meant to be, it is a week.
    assert world.value("select max(expires_at) < now() + interval '7 days 1 minute' from app.invitations")


def test_an_ended_invitation_stays_ended(world: World) -> None:
    invitation = invited(world)
    world.call(ACME.user(), "withdraw_invitation_v1", {"id": invitation})
    for change in ("status = 'open'", "status = 'accepted', accepted_by = gen_random_uuid()", "expires_at = now()"):
        statement = f"update app.invitations set {change} where id = %s"
        refused_everywhere(world, statement, invitation, claims=ACME.user(), reasons=("invitation_ended",))
    refused_everywhere(
        world, "delete from app.invitations where id = %s", invitation, claims=ACME.user(), reasons=("append_only",)
    )


def test_settings_are_an_owners_and_history_stays(world: World) -> None:
    row = "insert into app.tenant_settings values (%s, %s, %s, %s, %s)"
    on = {"if_match": None, "separation_of_duties": True}
    world.call(ACME.user(), "update_tenant_v1", on)
    version = world.value("select max(version) from app.tenant_settings where tenant_id = %s", ACME.id)
    for claims, by, number, reason, why in (
        (None, "owner", version + 1, "unauthenticated", "x"),
        (ACME.user("admin"), "admin", version + 1, "permission_denied", "x"),
        (ACME.user("owner", "aal1"), "owner", version + 1, "aal2_required", "x"),
        (ACME.user("owner2"), "owner", version + 1, "people_only", "x"),
        (GLOBEX.user(), "owner", version + 1, "people_only", "x"),
        (ACME.service(), "owner", version + 1, "permission_denied", "x"),
        (ACME.system(), "owner", version + 1, "permission_denied", "x"),
        (ACME.user(), "owner", version + 2, "settings_moved", "x"),
        (ACME.user(), "owner", version + 1, "reason_required", " "),
    ):
        values = (ACME.id, number, False, why, ACME.person(by))
        refused_everywhere(world, row, *values, claims=claims, reasons=(reason,))
    for statement in (
        "update app.tenant_settings set separation_of_duties = false where tenant_id = %s",
        "delete from app.tenant_settings where tenant_id = %s",
    ):
        refused_everywhere(world, statement, ACME.id, claims=ACME.user(), reasons=("append_only",))


def test_separated_duties_hold_past_the_application(world: World) -> None:
    """The key's issuer (the owner) and the account's maker (the developer, made an owner) write no approval."""
    world.call(ACME.user("owner2"), "change_role_v1", {"user_id": ACME.person("developer"), "role": "owner"})
    world.call(ACME.user("owner2"), "update_tenant_v1", {"if_match": None, "separation_of_duties": True})
    action = world.payment()
    row = (
        "insert into app.approvals (tenant_id, id, environment, action_id, run_id, digest, user_id, role, aal, verdict,"
        " expires_at) select tenant_id, gen_random_uuid(), environment, id, run_id, digest, %s, 'owner', 'aal2',"
        " 'approve', now() + interval '1 hour' from app.actions where id = %s"
    )
    for who in ("owner", "developer"):
        values = (ACME.person(who), action.id)
        refused_everywhere(world, row, *values, claims=ACME.user(who), reasons=("own_agent",))
        with world.refuses("own_agent"):
            world.approve(action, who)
    # Which key proposed is not the row's to say.
    refused_everywhere(
        world, "update app.actions set proposed_with = gen_random_uuid() where id = %s", action.id,
        claims=ACME.user(), reasons=("immutable_column",),
    )  # fmt: skip
    assert world.approve(action, "owner2")["status"] == "approved"


def test_an_approval_from_before_is_not_counted_at_the_claim(world: World) -> None:
    action = world.authorized()  # approved by the owner, who issued the key
    world.call(ACME.user("owner2"), "update_tenant_v1", {"if_match": None, "separation_of_duties": True})
    with world.nothing_released():
        claimed = world.claim(action)
    # As when an approver has left: it has to be proposed again.
    assert (claimed["claimed"], world.status(action)) == (False, "expired")


def test_the_last_use_of_a_key_is_nobodys_to_write(world: World) -> None:
    world.call(ACME.service(), "me_v1")
    for change, reason in (
        ("used_at = null", "append_only"),
        ("used_at = used_at - interval '1 day'", "append_only"),
        ("key_id = gen_random_uuid()", "immutable_column"),
        ("environment = 'sandbox'", "immutable_column"),
    ):
        statement = f"update app.key_uses set {change} where key_id = %s"
        refused_everywhere(world, statement, ACME.key(), reasons=(reason,))
        assert world.value("select used_at is not null from app.key_uses where key_id = %s", ACME.key())
    refused_everywhere(world, "delete from app.key_uses where key_id = %s", ACME.key(), reasons=("append_only",))


def test_what_ended_stays_ended_and_what_was_taken_stays_taken(world: World) -> None:
    world.call(ACME.user(), "narrow_api_key_v1", {"id": ACME.key(), "scopes": ["tenant.read"]})
    world.call(ACME.user(), "remove_member_v1", {"user_id": ACME.person("developer")})
    for statement in (
        "update app.api_keys set scopes = scopes || '{actions.propose}' where id = %s",
        "update app.api_keys set scopes = '{actions.propose}' where id = %s",
    ):
        refused_everywhere(world, statement, ACME.key(), claims=ACME.user(), reasons=("key_widened",))
    world.call(ACME.user(), "disable_service_account_v1", {"id": ACME.agent})
    for value in ("null", "now() + interval '1 day'"):
        statement = f"update app.service_accounts set disabled_at = {value} where id = %s"
        refused_everywhere(world, statement, ACME.agent, claims=ACME.user(), reasons=("account_ended",))


def test_keys_of_who_is_deleted_by_hand_are_marked_all_the_same(world: World) -> None:
    for vantage, tenant in zip(("owner", "owner, replica"), (ACME, GLOBEX), strict=True):
        assert vantage in OWNER
        with standing(world, vantage) as owner:
            owner.execute("delete from app.members where user_id = %s", (tenant.person("owner"),))
        marked = "select count(*) from app.api_keys where tenant_id = %s and issuer_left_at is not null"
        assert world.value(marked, tenant.id) == 2


def test_a_key_that_calls_itself_by_another_environment_is_nobody(shared_world: World) -> None:
    for environment, other in (("sandbox", "production"), ("production", "sandbox")):
        claims = ACME.service(environment, key_environment=environment)
        assert shared_world.call(claims, "me_v1")["environment"] == environment
        with shared_world.refuses("unauthenticated"):
            shared_world.call(claims | {"key_environment": other}, "me_v1")
