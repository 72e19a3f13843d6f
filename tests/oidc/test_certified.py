"""Connect, use, refresh, rotate and disconnect at a certified OpenID server, which nobody here wrote."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from sandbox.organisation import Organisation, ok, once
from tests.concurrency.patience import eventually
from tests.http.integrator import at_work, decide, new_organisation
from tests.http.sealed import tokens_of
from tests.http.test_connections import changed, is_a_page, status
from tests.oidc.conftest import CREATE, LIST, Books


@pytest.fixture(scope="module")
def working(books: Books) -> Organisation:
    """An organisation for tests that leave its connections as they are."""
    return books.working()


@pytest.fixture
def newcomer(books: Books) -> Organisation:
    return new_organisation(books.world, connected=False)


def refreshes(books: Books) -> int:
    """How many refresh grants the server was asked for, refused ones included."""
    asked = [*books.server.journal("grant.success"), *books.server.journal("grant.error")]
    return sum(entry["grant_type"] == "refresh_token" for entry in asked)


def test_the_server_is_a_certified_one_with_our_demands(books: Books) -> None:
    found = httpx.get(f"{books.server.registration.url}/.well-known/openid-configuration", trust_env=False).json()
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["authorization_response_iss_parameter_supported"] is True
    assert "client_secret_basic" in found["token_endpoint_auth_methods_supported"]
    assert found["revocation_endpoint"]


def test_a_private_provider_is_listed_like_any_other(books: Books, newcomer: Organisation) -> None:
    [ledger] = [p for p in ok(newcomer.owner.api.get("/v1/providers")) if p["name"] == "ledger"]
    assert [tool["name"] for tool in ledger["tools"]] == [LIST, CREATE]
    assert ok(newcomer.owner.api.get(f"/v1/tools/{LIST}"))["provider"] == "ledger"


def test_connecting_names_the_account_and_grants_what_was_asked(books: Books, newcomer: Organisation) -> None:
    for access, scopes in (("read", []), ("write", ["ledger:write"])):
        connection_id = books.connect(newcomer, access)
        shown = ok(newcomer.owner.api.get(f"/v1/connections/{connection_id}"))
        assert shown["status"] == "active"
        assert sorted(shown["scopes_granted"]) == sorted(["openid", "offline_access", "ledger:read", *scopes])
        assert (shown["account"]["id"], shown["account"]["label"]) == ("brightwater", "The books of brightwater")


def test_the_server_takes_nothing_without_pkce(books: Books, newcomer: Organisation) -> None:
    started = books.begin(newcomer)
    bare = changed(started["authorize_url"], code_challenge=None, code_challenge_method=None)
    back = books.consent({"authorize_url": bare})
    assert parse_qs(urlsplit(back).query)["error"] == ["invalid_request"]
    assert is_a_page(newcomer.owner.api.get(back), 409)
    assert status(newcomer, started["id"]) == "revoked"


def test_a_person_who_cancels_leaves_nothing_behind(books: Books, newcomer: Organisation) -> None:
    started = books.begin(newcomer)
    page = newcomer.owner.api.get(books.consent(started, allow=False))
    assert is_a_page(page, 409)
    assert "access_denied" in page.text
    assert status(newcomer, started["id"]) == "revoked"


@pytest.mark.parametrize("issuer", ["https://ledger.example", None])
def test_an_answer_of_another_issuer_is_refused(books: Books, newcomer: Organisation, issuer: str | None) -> None:
    started = books.begin(newcomer)
    back = books.consent(started)
    assert parse_qs(urlsplit(back).query)["iss"] == [books.server.registration.url]
    assert is_a_page(newcomer.owner.api.get(changed(back, iss=issuer)), 400)
    assert status(newcomer, started["id"]) == "revoked"


def test_a_state_works_once_and_a_code_too(books: Books, newcomer: Organisation) -> None:
    first = books.begin(newcomer)
    back = books.consent(first)
    assert is_a_page(newcomer.owner.api.get(back), 200)
    assert is_a_page(newcomer.owner.api.get(back), 400)
    assert status(newcomer, first["id"]) == "active"
    # The code of one sign-in, brought to another: its verifier is not the one the code was given for.
    second = books.begin(newcomer)
    stolen = parse_qs(urlsplit(books.consent(books.begin(newcomer))).query)["code"][0]
    assert is_a_page(newcomer.owner.api.get(changed(books.consent(second), code=stolen)), 409)
    assert status(newcomer, second["id"]) == "revoked"


def test_reading_and_writing_go_through_to_the_ledger(books: Books, working: Organisation) -> None:
    with at_work(working, "keep-the-ledger") as agent:
        seen = agent.observe(LIST)
        assert seen["result"]["entries"][0] == {
            "id": "ent_1",
            "memo": "Opening balance",
            "amount": 120000,
            "currency": "EUR",
        }
        entry = {"memo": "Paper", "amount": 1250, "currency": "EUR"}
        action = agent.propose(CREATE, entry)
        if action["status"] == "awaiting_approval":
            ok(decide(working.approver, action))
        assert agent.settled(action["id"])["status"] == "succeeded"
        assert [e for e in agent.observe(LIST)["result"]["entries"] if e["memo"] == "Paper"]


def test_tokens_that_ended_are_refreshed_and_rotate(books: Books, working: Organisation) -> None:
    connection_id = working.connections["ledger/read"]
    with at_work(working, "keep-the-ledger") as agent:
        with books.server.life(1):
            agent.observe(LIST)  # which may come too late with a token that lives a second
        before = tokens_of(books.world, connection_id)
        eventually(lambda: not books.server.knows(before["access_token"]), "the access token ends")
        assert agent.observe(LIST)["status"] == "succeeded"
    after = tokens_of(books.world, connection_id)
    assert books.server.knows(after["refresh_token"])
    assert not books.server.knows(before["refresh_token"])
    assert not {*before.values()} & {*after.values()}


def test_readers_at_once_cause_one_refresh(books: Books, working: Organisation) -> None:
    with at_work(working, "keep-the-ledger") as agent:
        agent.observe(LIST)
        before = refreshes(books)

        def read(_: int) -> str:
            for _attempt in range(50):
                body = {"tool": LIST, "args": {}}
                answer = agent.api.post(f"/v1/runs/{agent.run_id}/observations", json=body, headers=once())
                if answer.status_code != 503:
                    return str(ok(answer)["status"])
                time.sleep(0.2)
            return answer.text

        with books.server.life(300), ThreadPoolExecutor(12) as pool:
            assert set(pool.map(read, range(12))) == {"succeeded"}
    assert refreshes(books) == before + 1
    assert status(working, working.connections["ledger/read"]) == "active"


def test_a_stolen_refresh_token_is_of_no_use_without_our_secret(books: Books, working: Organisation) -> None:
    connection_id = working.connections["ledger/read"]
    stolen = tokens_of(books.world, connection_id)["refresh_token"]
    thief = books.server.refresh(stolen, ("countersign", "a-guess"))
    assert (thief.status_code, thief.json()["error"]) == (401, "invalid_client")
    assert books.server.knows(stolen)
    with at_work(working, "keep-the-ledger") as agent:
        assert agent.observe(LIST)["status"] == "succeeded"


def test_an_old_refresh_token_used_again_ends_this_consent_and_no_other(books: Books) -> None:
    """RFC 9700 section 4.14.2: the server cannot tell the thief from us, and ends what both hold. We say so."""
    organisation = books.working()
    connection_id = organisation.connections["ledger/read"]
    old = tokens_of(books.world, connection_id)["refresh_token"]
    with at_work(organisation, "keep-the-ledger") as agent:
        agent.observe(LIST)
        replayed = books.server.refresh(old)
        assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")
        failed = agent.observe(LIST)
        assert (failed["status"], failed["result"]) == ("failed", None)
        assert "invalid_grant" in failed["error"]
        body = {"tool": LIST, "args": {}}
        refused = agent.api.post(f"/v1/runs/{agent.run_id}/observations", json=body, headers=once())
        assert (refused.status_code, refused.json()["code"]) == (409, "connection_not_active")
        shown = ok(organisation.owner.api.get(f"/v1/connections/{connection_id}"))
        assert shown["status"] == "expired"
        assert "Connect it again" in shown["status_reason"]
        assert status(organisation, organisation.connections["ledger/write"]) == "active"
    again = books.connect(organisation, "read")
    assert status(organisation, again) == "active"


def test_disconnecting_ends_the_consent_at_the_server(books: Books) -> None:
    organisation = books.working()
    connection_id, other = organisation.connections["ledger/read"], organisation.connections["ledger/write"]
    tokens, kept = tokens_of(books.world, connection_id), tokens_of(books.world, other)
    assert books.server.userinfo(tokens["access_token"]).status_code == 200
    assert books.server.knows(tokens["refresh_token"])
    ok(organisation.owner.api.delete(f"/v1/connections/{connection_id}"))
    assert not books.server.knows(tokens["refresh_token"])
    assert not books.server.knows(tokens["access_token"])
    assert books.server.userinfo(tokens["access_token"]).status_code == 401
    assert books.server.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert books.server.knows(kept["refresh_token"]), "the other connection goes on"
    rows = books.world.rows("select secret_id from app.credentials where connection_id = %s", connection_id)
    assert rows in ([], [(None,)])


def test_a_whole_life_with_a_new_key_in_the_middle(books: Books) -> None:
    """Connect, use, refresh, rotate the key-encryption key while reading goes on, refresh under it, disconnect."""
    organisation = books.working()
    connection_id = organisation.connections["ledger/read"]
    first = tokens_of(books.world, connection_id)
    with at_work(organisation, "keep-the-ledger") as agent:
        assert agent.observe(LIST)["status"] == "succeeded"
        old = books.world.stack.environment()["COUNTERSIGN_KEK"]
        new = f"next:{secrets.token_hex(32)}"
        books.with_keys(f"{new},{old}")
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(lambda: [agent.observe(LIST)["status"] for _ in range(6)])
            done = books.world.stack.tick("rotate_keys")
            assert set(reading.result()) == {"succeeded"}
        assert done["rewrapped"] + done["beaten"] >= 2
        assert (done["failed"], done.get("left_local", 0)) == (0, 0)
        books.with_keys(new)  # the old key is gone for good
        second = tokens_of(books.world, connection_id)
        assert agent.observe(LIST)["status"] == "succeeded"
        third = tokens_of(books.world, connection_id)
        assert len({tokens["refresh_token"] for tokens in (first, second, third)}) == 3
        assert books.server.knows(third["refresh_token"])
        assert not books.server.knows(second["refresh_token"])
    gone = ok(organisation.owner.api.delete(f"/v1/connections/{connection_id}"))
    assert gone["revoked_at_provider"] is True
    assert not books.server.knows(third["refresh_token"])
