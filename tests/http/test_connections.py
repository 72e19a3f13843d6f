"""Signing in at a provider, and what becomes of the tokens."""

import re
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import pytest

from sandbox.oauth.browser import walk_consent
from sandbox.oauth.people import person
from sandbox.organisation import Organisation, ok, once
from tests.http.integrator import NOTE, PAY, at_work, decide, note, objections, payment
from tests.http.sealed import tokens_of
from tests.http.world import World


def begin(organisation: Organisation, provider: str = "sandbox_bank", access: str = "read") -> dict[str, Any]:
    body = {"provider": provider, "environment": "sandbox", "access": access}
    started: dict[str, Any] = ok(organisation.owner.api.post("/v1/connections", json=body))
    return started


def consent(world: World, started: dict[str, Any], server: str = "bank", **choices: Any) -> str:
    """The address that the provider sends the person's browser back to."""
    who = person(world.stack.state, server)
    return walk_consent(started["authorize_url"], who.username, who.password, **choices)


def changed(url: str, **parameters: str | None) -> str:
    """The URL with other query parameters; None leaves one out."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | parameters
    return urlunsplit(parts._replace(query=urlencode({k: v for k, v in query.items() if v is not None})))


def status(organisation: Organisation, connection_id: str) -> str:
    return str(ok(organisation.owner.api.get(f"/v1/connections/{connection_id}"))["status"])


def is_a_page(answer: httpx.Response, status_code: int) -> bool:
    """The browser gets a page that runs nothing and frames nowhere."""
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    return answer.status_code == status_code


def test_a_connection_asks_for_its_access_and_nothing_more(shared: Organisation, world: World) -> None:
    started = begin(shared)
    asked = parse_qs(urlsplit(started["authorize_url"]).query)
    assert asked["scope"] == ["accounts:read transactions:read bills:read payments:read"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [f"{world.api}/oauth/sandbox_bank/callback"]
    assert re.fullmatch(r"[\w-]{43}", asked["state"][0])
    assert status(shared, started["id"]) == "pending"
    page = shared.owner.api.get(consent(world, started))
    assert is_a_page(page, 200)
    connection = ok(shared.owner.api.get(f"/v1/connections/{started['id']}"))
    assert (connection["status"], connection["account"]["id"]) == ("active", "brightwater")
    assert sorted(connection["scopes_granted"]) == sorted(asked["scope"][0].split())


def test_the_cookie_binds_the_sign_in_to_the_browser(shared: Organisation) -> None:
    body = {"provider": "sandbox_bank", "environment": "sandbox", "access": "read"}
    cookie = shared.owner.api.post("/v1/connections", json=body).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/oauth/sandbox_bank" in cookie


def test_another_browser_cannot_end_the_sign_in_and_does_not_spoil_it(shared: Organisation, world: World) -> None:
    started = begin(shared)
    back = consent(world, started)
    with world.client() as stranger:
        assert is_a_page(stranger.get(back), 400)
    assert is_a_page(shared.approver.api.get(back), 400)
    assert status(shared, started["id"]) == "pending"
    assert is_a_page(shared.owner.api.get(back), 200)
    assert status(shared, started["id"]) == "active"


def test_a_state_works_once(shared: Organisation, world: World) -> None:
    started = begin(shared)
    back = consent(world, started)
    assert is_a_page(shared.owner.api.get(back), 200)
    assert is_a_page(shared.owner.api.get(back), 400)
    assert status(shared, started["id"]) == "active"


@pytest.mark.parametrize("state", ["A" * 43, "", None])
def test_a_state_that_nobody_was_given_is_refused(shared: Organisation, world: World, state: str | None) -> None:
    started = begin(shared)
    back = consent(world, started)
    assert is_a_page(shared.owner.api.get(changed(back, state=state)), 400)
    assert status(shared, started["id"]) == "pending"


def test_an_answer_of_another_provider_is_not_mixed_up(shared: Organisation, world: World) -> None:
    bank, crm = begin(shared), begin(shared, "sandbox_crm")
    code = parse_qs(urlsplit(consent(world, crm, "crm")).query)["code"][0]
    state = parse_qs(urlsplit(bank["authorize_url"]).query)["state"][0]
    forged = f"{world.api}/oauth/sandbox_bank/callback?" + urlencode(
        {"code": code, "state": state, "iss": world.stack.url["crm"]}
    )
    assert is_a_page(shared.owner.api.get(forged), 400)
    swapped = f"{world.api}/oauth/sandbox_crm/callback?" + urlencode({"code": code, "state": state})
    assert is_a_page(shared.owner.api.get(swapped), 400)
    assert status(shared, bank["id"]) == "revoked"


@pytest.mark.parametrize("issuer", ["https://bank.example", None])
def test_an_answer_must_name_its_issuer(shared: Organisation, world: World, issuer: str | None) -> None:
    started = begin(shared)
    back = consent(world, started)
    assert is_a_page(shared.owner.api.get(changed(back, iss=issuer)), 400)
    assert status(shared, started["id"]) == "revoked"


def test_a_person_who_declines_leaves_nothing_behind(shared: Organisation, world: World) -> None:
    started = begin(shared)
    back = consent(world, started, allow=False)
    assert parse_qs(urlsplit(back).query)["error"] == ["access_denied"]
    page = shared.owner.api.get(back)
    assert is_a_page(page, 409)
    assert "access_denied" in page.text
    assert status(shared, started["id"]) == "revoked"


def test_what_a_provider_sends_is_shown_as_text(shared: Organisation, world: World) -> None:
    started = begin(shared)
    back = changed(consent(world, started, allow=False), error="<script>alert(1)</script>")
    page = shared.owner.api.get(back)
    assert is_a_page(page, 409)
    assert "<script" not in page.text


def test_a_narrower_consent_is_refused_and_given_back(shared: Organisation, world: World) -> None:
    started = begin(shared)
    page = shared.owner.api.get(consent(world, started, scopes=["accounts:read", "bills:read", "payments:read"]))
    assert is_a_page(page, 409)
    assert "transactions:read" in page.text
    assert status(shared, started["id"]) == "revoked"
    assert world.rows("select count(*) from app.credentials where connection_id = %s", started["id"]) == [(0,)]
    assert world.deliveries("bank", "oauth.revoke")[-1]["outcome"] == "done"


def test_a_code_that_the_provider_does_not_take_connects_nothing(shared: Organisation, world: World) -> None:
    started = begin(shared)
    page = shared.owner.api.get(changed(consent(world, started), code="made-up"))
    assert is_a_page(page, 409)
    assert "invalid_grant" in page.text
    assert status(shared, started["id"]) == "revoked"


def test_a_token_endpoint_that_fails_connects_nothing(shared: Organisation, world: World) -> None:
    started = begin(shared)
    back = consent(world, started)
    with world.provider("bank") as bank:
        bank.post("/_faults", json={"operation": "oauth.token", "kind": "error"}).raise_for_status()
    assert is_a_page(shared.owner.api.get(back), 409)
    assert status(shared, started["id"]) == "revoked"


def test_an_unknown_provider_has_no_callback(world: World) -> None:
    with world.client() as client:
        for path in ("/oauth/nobody/callback?state=x&code=y", "/oauth/%00/callback?state=%00"):
            assert is_a_page(client.get(path), 404)


def test_a_provider_must_be_known(shared: Organisation) -> None:
    body = {"provider": "nobody", "environment": "sandbox", "access": "read"}
    refused = shared.owner.api.post("/v1/connections", json=body)
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown_provider")


@pytest.mark.parametrize("role", ["approver", "agent"])
def test_only_those_who_manage_connections_begin_one(shared: Organisation, role: str) -> None:
    body = {"provider": "sandbox_bank", "environment": "sandbox", "access": "read"}
    with shared.agent() as agent:
        refused = (agent if role == "agent" else shared.approver.api).post("/v1/connections", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


def at_bank(world: World, access_token: str) -> int:
    headers = {"Authorization": f"Bearer {access_token}"}
    return httpx.get(f"{world.stack.url['bank']}/v1/whoami", headers=headers, trust_env=False).status_code


def test_a_deleted_connection_is_gone_here_and_there(fresh: Organisation, world: World) -> None:
    connection_id = fresh.connections["sandbox_bank/write"]
    tokens = tokens_of(world, connection_id)
    assert at_bank(world, tokens["access_token"]) == 200
    with at_work(fresh) as agent:
        approved = agent.propose(PAY, payment())
        deleted = ok(fresh.owner.api.delete(f"/v1/connections/{connection_id}"))
        assert (deleted["status"], deleted["revoked_at_provider"]) == ("revoked", True)
        assert (deleted["disconnect"]["step"], deleted["disconnect"]["at_provider"]) == ("finished", "confirmed")
        assert "Sandbox bank confirmed" in deleted["message"]
        assert at_bank(world, tokens["access_token"]) == 401
        assert world.rows("select secret_id from app.credentials where connection_id = %s", connection_id) == [(None,)]
        name = f"countersign/{connection_id}/%"
        assert world.rows("select count(*) from vault.secrets where name like %s", name) == [(0,)]

        refused = agent.propose(PAY, payment())
        assert (refused["status"], objections(refused)["connection"]) == ("denied", "deny")
        ok(decide(fresh.approver, approved))
        world.stack.tick()
        assert agent.action(approved["id"])["attempts"] == []
        assert world.transfers(approved["id"]) == []
        assert agent.propose(NOTE, note())["status"] == "authorized"  # the CRM is still connected
    again = ok(fresh.owner.api.delete(f"/v1/connections/{connection_id}"))
    assert again == deleted


def test_a_deleted_read_connection_reads_nothing(fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        agent.observe()
        ok(fresh.owner.api.delete(f"/v1/connections/{fresh.connections['sandbox_bank/read']}"))
        body = {"tool": "sandbox_bank.bills.list", "args": {}}
        refused = agent.api.post(f"/v1/runs/{agent.run_id}/observations", json=body, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (409, "connection_not_active")


def test_every_release_of_a_credential_is_an_audit_event(fresh: Organisation) -> None:
    with at_work(fresh) as agent:
        agent.observe()
        agent.settled(agent.propose(NOTE, note())["id"])
        only = {"type": "credential.released", "run_id": agent.run_id}
        events = ok(fresh.owner.api.get("/v1/audit/events", params=only))
    purposes = [event["event"]["why"]["purpose"] for event in events["items"]]
    assert purposes == ["attempt", "observation"]
