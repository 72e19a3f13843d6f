"""Nobody joins a tenant but by an invitation to an address that is really his."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest

from sandbox.auth.keys import SigningKeys, service_key
from sandbox.auth.mailbox import received
from sandbox.organisation import (
    Member,
    Organisation,
    accept,
    admit,
    invite,
    mail_to,
    new_address,
    ok,
    once,
    sign_up,
    welcome,
)
from tests.http.functions import function
from tests.http.integrator import join
from tests.http.problems import problem, unchanged
from tests.http.world import World


def accepting(person: Member, invitation: dict[str, Any]) -> httpx.Response:
    return person.api.post(f"/v1/invitations/{invitation['id']}/accept", json={})


def listed(organisation: Organisation, invitation: dict[str, Any]) -> dict[str, Any]:
    """The invitation as the tenant sees it now."""
    everything = ok(organisation.owner.api.get("/v1/invitations"))
    return next(item for item in everything if item["id"] == invitation["id"])


def move_house(world: World, person: Member, email: str) -> None:
    """Gives a person another address, which counts at once; the token they have still names the old one."""
    key = service_key(world.stack.state)
    url = f"{world.stack.url['auth']}/auth/v1/admin/users/{person.user_id}"
    ok(httpx.put(url, json={"email": email}, headers={"apikey": key, "Authorization": f"Bearer {key}"}))


def test_who_is_new_follows_the_mail_and_joins(fresh: Organisation) -> None:
    ines = welcome(fresh.stack, fresh.owner, "Ines Okoro", "operator")
    me = ok(ines.api.get("/v1/me"))
    assert (me["role"], me["email"], me["name"], me["aal"]) == ("operator", ines.email, "Ines Okoro", "aal2")
    assert mail_to(fresh.stack, ines.email).kind == "invite"
    assert ok(ines.api.get("/v1/me/invitations")) == []


def test_who_has_signed_up_is_mailed_a_link_to_sign_in_and_nobody_can_tell(fresh: Organisation) -> None:
    """The answer to who invites is the same, so that inviting is no way to ask whether somebody has an account."""
    known = sign_up(fresh.stack, "Kim Known")
    invitations = [invite(fresh.owner, email, "auditor") for email in (known.email, new_address("Nia"))]
    kinds = [mail_to(fresh.stack, invitation["email"]).kind for invitation in invitations]
    assert kinds == ["magiclink", "invite"]
    told = [{**i, "id": "", "email": "", "created_at": "", "expires_at": ""} for i in invitations]
    assert told[0] == told[1]
    assert told[0]["mail"] == "sent"


def test_a_mail_says_nothing_that_would_let_anybody_else_in(fresh: Organisation) -> None:
    invitation = invite(fresh.owner, new_address("Nia"), "admin")
    mail = mail_to(fresh.stack, invitation["email"])
    assert invitation["id"] not in str(mail)
    assert fresh.tenant_id not in str(mail)


def test_a_person_finds_invitations_of_every_tenant_and_needs_none_to_look(fresh: Organisation, world: World) -> None:
    person = sign_up(fresh.stack, "Wren Wanted")
    other = sign_up(fresh.stack, "Otto Owner")
    ok(other.api.post("/v1/tenants", json={"name": "Otto's", "user_name": "Otto"}, headers=once()))
    first, second = invite(fresh.owner, person.email, "auditor"), invite(other, person.email, "operator")
    mine = {item["id"]: item for item in ok(person.api.get("/v1/me/invitations"))}
    assert set(mine) == {first["id"], second["id"]}
    assert mine[first["id"]]["tenant"] == {"id": fresh.tenant_id, "name": "Brightwater Goods BV"}
    assert (mine[second["id"]]["invited_by"], mine[second["id"]]["role"]) == ("Otto", "operator")
    for invitation in (first, second):
        accept(person, invitation["id"])
    assert len(ok(person.api.get("/v1/tenants"))) == 2


def test_another_person_cannot_accept_it_and_learns_nothing(fresh: Organisation, world: World) -> None:
    invitation = invite(fresh.owner, new_address("Nia"), "admin")
    stranger = sign_up(fresh.stack, "Sol Stranger")
    made_up = {"id": str(uuid.uuid4())}
    with unchanged(world):
        for person in (stranger, fresh.approver, fresh.owner):
            assert invitation["id"] not in person.api.get("/v1/me/invitations").text
            refused = problem(accepting(person, invitation), 404, "not_found")
            assert refused["detail"] == problem(accepting(person, made_up), 404)["detail"]


def test_the_confirmed_address_counts_and_neither_token_nor_metadata(fresh: Organisation, world: World) -> None:
    person, old = sign_up(fresh.stack, "Mara Moved"), new_address("Mara")
    move_house(world, person, old)
    to_old, new = invite(fresh.owner, old, "admin"), new_address("Mara")
    move_house(world, person, new)
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    claims |= {"email": old, "user_metadata": {"email": old, "email_verified": True}}
    key = SigningKeys(world.stack.state).current()
    token = jwt.encode(claims, key.private, algorithm="ES256", headers={"kid": key.kid})
    with world.client(token) as client, unchanged(world):
        assert ok(client.get("/v1/me/invitations")) == []
        problem(client.post(f"/v1/invitations/{to_old['id']}/accept", json={}), 404, "not_found")
    to_new = invite(fresh.owner, new, "auditor")
    with world.client(token) as client:
        assert ok(client.post(f"/v1/invitations/{to_new['id']}/accept", json={}))["role"] == "auditor"


def test_an_address_nobody_has_confirmed_accepts_nothing(fresh: Organisation, world: World) -> None:
    person, wanted = sign_up(fresh.stack, "Uma Unconfirmed"), invite(fresh.owner, new_address("Uma"), "admin")
    with world.database.connect("superuser") as connection:
        connection.execute(
            "delete from auth.users where email = %s", (wanted["email"],)  # whom the invitation has just made
        )  # fmt: skip
        connection.execute(
            "update auth.users set email = %s, email_confirmed_at = null where id = %s",
            (wanted["email"], person.user_id),
        )
    with unchanged(world):
        problem(person.api.get("/v1/me/invitations"), 403, "email_not_confirmed")
        problem(accepting(person, wanted), 403, "email_not_confirmed")


def test_an_address_in_capitals_is_the_same_address(fresh: Organisation) -> None:
    person = sign_up(fresh.stack, "Cas Capital")
    invitation = invite(fresh.owner, person.email.upper(), "auditor")
    assert invitation["email"] == person.email
    again = {"email": person.email.title(), "role": "owner"}
    problem(fresh.owner.api.post("/v1/invitations", json=again, headers=once()), 409, "already_invited")
    accept(person, invitation["id"])
    problem(fresh.owner.api.post("/v1/invitations", json=again, headers=once()), 409, "already_member")


@pytest.mark.parametrize("email", ["not an address", "a@b@c", "x", "\u212aim@example.test", "a\nb@example.test"])
def test_what_is_no_address_is_not_invited(shared: Organisation, email: str) -> None:
    body = {"email": email, "role": "auditor"}
    problem(shared.owner.api.post("/v1/invitations", json=body, headers=once()), 422, "invalid_request")


def _withdraw(organisation: Organisation, invitation: dict[str, Any], _: World) -> None:
    for _again in range(2):
        path = f"/v1/invitations/{invitation['id']}"
        assert ok(organisation.owner.api.delete(path))["status"] == "withdrawn"


def _expire(_: Organisation, invitation: dict[str, Any], world: World) -> None:
    with world.database.connect("superuser") as connection:
        for statement in (
            "alter table app.invitations disable trigger invitations_guard",
            f"update app.invitations set expires_at = now() where id = '{invitation['id']}'",
            "alter table app.invitations enable always trigger invitations_guard",
        ):
            connection.execute(statement.encode())


def _demote(organisation: Organisation, _: dict[str, Any], __: World) -> None:
    person = next(m for m in ok(organisation.owner.api.get("/v1/members")) if m["name"] == "Ada Admin")
    ok(organisation.owner.api.patch(f"/v1/members/{person['user_id']}", json={"role": "auditor"}))


def _remove(organisation: Organisation, _: dict[str, Any], __: World) -> None:
    person = next(m for m in ok(organisation.owner.api.get("/v1/members")) if m["name"] == "Ada Admin")
    ok(organisation.owner.api.delete(f"/v1/members/{person['user_id']}"))


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        (_withdraw, "withdrawn", "invitation_ended"),
        (_expire, "expired", "invitation_expired"),
        (_demote, "void", "invitation_void"),
        (_remove, "void", "invitation_void"),
    ],
)
def test_an_invitation_ends(
    fresh: Organisation,
    world: World,
    end: Callable[[Organisation, dict[str, Any], World], None],
    status: str,
    code: str,
) -> None:
    admin, person = join(fresh, "admin", name="Ada Admin"), sign_up(fresh.stack, "Late Comer")
    invitation = invite(admin, person.email, "operator")
    assert len(ok(person.api.get("/v1/me/invitations"))) == 1
    end(fresh, invitation, world)
    with unchanged(world):
        assert ok(person.api.get("/v1/me/invitations")) == []
        problem(accepting(person, invitation), 409, code)
    assert listed(fresh, invitation)["status"] == status
    # And its end is no obstacle to another one.
    admit(fresh.owner, person, "auditor")


def test_who_sends_it_again_vouches_for_it(fresh: Organisation, world: World) -> None:
    admin, person = join(fresh, "admin", name="Ada Admin"), sign_up(fresh.stack, "Late Comer")
    invitation = invite(admin, person.email, "operator")
    _demote(fresh, invitation, world)
    again = ok(fresh.owner.api.post(f"/v1/invitations/{invitation['id']}/resend", headers=once()))
    assert (again["status"], again["mail"], again["invited_by"]) == ("open", "sent", fresh.owner.user_id)
    assert again["expires_at"] > invitation["expires_at"]
    assert len(list(received(world.stack.state, person.email))) == 2
    accept(person, invitation["id"])


def test_a_repeated_request_mails_nothing_more(fresh: Organisation, world: World) -> None:
    body, key = {"email": new_address("Nia"), "role": "auditor"}, once()
    first = ok(fresh.owner.api.post("/v1/invitations", json=body, headers=key))
    again = fresh.owner.api.post("/v1/invitations", json=body, headers=key)
    assert again.headers["idempotent-replayed"] == "true"
    assert ok(again) == first
    assert len(list(received(world.stack.state, body["email"]))) == 1
    ok(fresh.owner.api.delete(f"/v1/invitations/{first['id']}"))
    assert ok(fresh.owner.api.post("/v1/invitations", json=body, headers=key))["status"] == "withdrawn"


def test_to_accept_again_is_to_be_told_again_and_does_not_bring_back(fresh: Organisation, world: World) -> None:
    person = sign_up(fresh.stack, "Remy Removed")
    invitation = invite(fresh.owner, person.email, "operator")
    first = ok(accepting(person, invitation))
    with unchanged(world):
        assert ok(accepting(person, invitation)) == first
    ok(fresh.owner.api.delete(f"/v1/members/{person.user_id}"))
    with unchanged(world):
        problem(accepting(person, invitation), 409, "invitation_ended")


def test_who_may_invite_whom(fresh: Organisation) -> None:
    admin, developer = join(fresh, "admin"), join(fresh, "developer")
    body = {"email": new_address("Nia"), "role": "owner"}
    for role in ("owner", "approver"):
        problem(admin.api.post("/v1/invitations", json=body | {"role": role}, headers=once()), 403, "owner_required")
    for person in (developer, fresh.approver):
        problem(person.api.post("/v1/invitations", json=body, headers=once()), 403, "permission_denied")
    with fresh.agent() as agent:
        problem(agent.post("/v1/invitations", json=body, headers=once()), 403, "permission_denied")
        problem(agent.get("/v1/me/invitations"), 403, "people_only")
        problem(agent.post(f"/v1/invitations/{uuid.uuid4()}/accept", json={}), 403, "people_only")
    owners = invite(fresh.owner, body["email"], "owner")
    problem(admin.api.post(f"/v1/invitations/{owners['id']}/resend", headers=once()), 403, "owner_required")


def test_an_invitation_is_not_sent_again_at_once(fresh: Organisation, world: World) -> None:
    invitation = invite(fresh.owner, new_address("Nia"), "auditor")
    path = f"/v1/invitations/{invitation['id']}/resend"
    ok(fresh.owner.api.post(path, headers=once()))
    with unchanged(world):
        refused = fresh.owner.api.post(path, headers=once())
        said = problem(refused, 429, "too_many_invitations")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert "Try again after" in said["detail"]
    assert len(list(received(world.stack.state, invitation["email"]))) == 2


def test_a_tenant_mails_no_more_strangers_than_fifty_a_day(fresh: Organisation, world: World) -> None:
    claims = {"kind": "user", "sub": fresh.owner.user_id, "tenant_id": fresh.tenant_id, "aal": "aal2"}
    so_far = len(ok(fresh.owner.api.get("/v1/invitations")))
    with world.database.connect("countersign_api") as api:
        for _ in range(so_far, 49):
            args = {"id": str(uuid.uuid4()), "email": new_address("Nia"), "role": "auditor"}
            api.execute("select app.call_v1(%s, 'invite_v1', %s)", (json.dumps(claims), json.dumps(args)))
    last = invite(fresh.owner, new_address("Nia"), "auditor")
    ok(fresh.owner.api.delete(f"/v1/invitations/{last['id']}"))
    body = {"email": new_address("Nia"), "role": "auditor"}
    with unchanged(world):
        refused = fresh.owner.api.post("/v1/invitations", json=body, headers=once())
        problem(refused, 429, "too_many_invitations")
    assert 86000 < int(refused.headers["retry-after"]) <= 86400
    assert list(received(world.stack.state, body["email"])) == []


def test_a_mail_that_does_not_go_out_leaves_the_invitation_open_and_says_so(fresh: Organisation, world: World) -> None:
    person = sign_up(fresh.stack, "Pat Patient")
    body = {"email": person.email, "role": "auditor"}
    sent = {"authorization": f"Bearer {fresh.owner.access_token}", "idempotency-key": str(uuid.uuid4())}
    for key in ("", "sb_secret_of_another_project"):
        with function("api.index", world, SUPABASE_SERVICE_KEY=key) as api:
            status, made, _ = api.call("POST", "/v1/invitations", body, **sent)
            assert (status, made["status"], made["mail"]) == (201, "open", "failed")
            ok(fresh.owner.api.delete(f"/v1/invitations/{made['id']}"))
            sent["idempotency-key"] = str(uuid.uuid4())
    with function("api.index", world, SUPABASE_SERVICE_KEY="") as api:
        _, made, _ = api.call("POST", "/v1/invitations", body, **sent)
    assert listed(fresh, made)["mail"] == "failed"
    assert list(received(world.stack.state, person.email)) == []
    # It is open all the same: whoever has the address finds it.
    accept(person, made["id"])


def test_every_step_is_in_the_log(fresh: Organisation) -> None:
    person = sign_up(fresh.stack, "Lou Logged")
    invitation = invite(fresh.owner, person.email, "operator")
    accept(person, invitation["id"])
    events = ok(fresh.owner.api.get("/v1/audit/events?limit=200"))["items"]
    records = [json.loads(event["record"]) for event in events]
    told = [record for record in records if record["subject"]["id"] in (invitation["id"], person.user_id)]
    kinds = {record["type"]: record for record in told}
    assert list(kinds) == sorted(kinds, key=lambda kind: kinds[kind]["seq"], reverse=True)
    assert set(kinds) == {"invitation.created", "invitation.updated", "invitation.accepted", "member.added"}
    assert kinds["invitation.created"]["principal"]["id"] == fresh.owner.user_id
    assert kinds["invitation.accepted"]["principal"]["id"] == person.user_id
    assert kinds["invitation.accepted"]["what"]["invited_by"] == fresh.owner.user_id
