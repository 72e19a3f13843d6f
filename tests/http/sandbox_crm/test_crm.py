"""Contacts with versions, notes once per key, messages that know no key."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from sandbox.crm.app import SCOPES, create_app
from tests.http.sandbox_oauth.flows import Sandbox, running

MESSAGE = {"to": "piet@juniper.example", "subject": "Your refund", "body": "It is on its way."}


def _note(api: httpx.Client, key: str, **changes: Any) -> httpx.Response:
    body = {"contact_id": "con_piet", "body": "Asked for a refund of SO-2201."} | changes
    return api.post("/v1/notes", json=body, headers={"Idempotency-Key": key})


def _sent(api: httpx.Client, marker: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/v1/messages", params={"marker": marker}).json()["messages"]
    return found


def test_the_seed_can_be_listed_and_searched(api: httpx.Client) -> None:
    assert api.get("/v1/whoami").json()["account_id"] == "brightwater-crm"
    assert [row["id"] for row in api.get("/v1/companies", params={"query": "JUNIPER"}).json()["companies"]] == [
        "com_juniper"
    ]
    assert api.get("/v1/companies/com_marlow").json()["tier"] == "gold"
    assert len(api.get("/v1/contacts").json()["contacts"]) == 5
    found = api.get("/v1/contacts", params={"company_id": "com_juniper"}).json()["contacts"]
    assert {row["id"] for row in found} == {"con_ada", "con_piet"}
    assert len(api.get("/v1/deals", params={"company_id": "com_oakline"}).json()["deals"]) == 1
    inbox = api.get("/v1/messages", params={"direction": "in"}).json()["messages"]
    assert [row["id"] for row in inbox] == [f"msg_00{n}" for n in range(6, 0, -1)]
    assert api.get("/v1/messages/msg_001").json()["contact_id"] == "con_piet"
    for path in ("companies", "contacts", "messages"):
        assert api.get(f"/v1/{path}/nobody").status_code == 404


def test_an_update_needs_the_current_version(api: httpx.Client) -> None:
    url, change = "/v1/contacts/con_noor", {"phone": "+44 20 5550 0199"}
    assert api.get(url).headers["etag"] == '"1"'
    assert api.patch(url, json=change).status_code == 428
    assert api.patch(url, json=change, headers={"If-Match": '"2"'}).status_code == 412
    assert api.patch(url, json=change, headers={"If-Match": "*"}).status_code == 400
    done = api.patch(url, json=change, headers={"If-Match": '"1"'})
    assert (done.status_code, done.json()["version"], done.headers["etag"]) == (200, 2, '"2"')
    again = api.patch(url, json=change | {"version": 1})
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json() == done.json()
    assert api.patch(url, json={"phone": "+44 20 5550 0000", "version": 1}).status_code == 412
    assert api.patch(url, json={"title": "Owner", "version": 2}).json()["version"] == 3
    assert api.get(url).json()["phone"] == "+44 20 5550 0199"


@pytest.mark.parametrize(
    "change", [{}, {"email": "no address"}, {"phone": "call me"}, {"company_id": "com_marlow"}, {"name": ""}]
)
def test_a_wrong_change_is_refused(untouched: httpx.Client, change: dict[str, str]) -> None:
    before = untouched.get("/v1/contacts/con_noor").json()
    assert untouched.patch("/v1/contacts/con_noor", json=change | {"version": 1}).status_code == 400
    assert untouched.get("/v1/contacts/con_noor").json() == before


def test_of_updates_at_once_one_wins(api: httpx.Client) -> None:
    def rename(n: int) -> int:
        body = {"title": f"Title {n}", "version": 1}
        return api.patch("/v1/contacts/con_noor", json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(rename, range(8))) == [200] + [412] * 7


def test_a_deleted_contact_is_gone_and_stays_gone(crm: Sandbox, api: httpx.Client) -> None:
    for _ in range(2):
        assert api.delete("/v1/contacts/con_ruth").json() == {"id": "con_ruth", "deleted": True}
    assert api.get("/v1/contacts/con_ruth").status_code == 404
    assert api.patch("/v1/contacts/con_ruth", json={"title": "x", "version": 2}).status_code == 404
    assert _note(api, "k-1", contact_id="con_ruth").status_code == 400
    assert len(api.get("/v1/contacts").json()["contacts"]) == 4
    assert api.delete("/v1/contacts/con_nobody").status_code == 404


def test_a_note_is_made_once_per_key(api: httpx.Client) -> None:
    first, again = _note(api, "k-1"), _note(api, "k-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert _note(api, "k-1", body="Something else").status_code == 422
    assert api.post("/v1/notes", json={"contact_id": "con_piet", "body": "x"}).status_code == 400
    assert api.get("/v1/notes", params={"idempotency_key": "k-1"}).json()["notes"] == [first.json()]
    assert len(api.get("/v1/notes", params={"contact_id": "con_piet"}).json()["notes"]) == 1


def test_every_send_is_one_more_message(api: httpx.Client) -> None:
    body = MESSAGE | {"client_reference": "ref-1", "in_reply_to": "msg_001"}
    for _ in range(2):
        assert api.post("/v1/messages", json=body, headers={"Idempotency-Key": "k"}).status_code == 201
    sent = _sent(api, "ref-1")
    assert len(sent) == 2, "an Idempotency-Key does not help here"
    assert (sent[0]["direction"], sent[0]["contact_id"]) == ("out", "con_piet")
    assert _sent(api, "ref-2") == []
    assert api.post("/v1/messages", json=MESSAGE | {"in_reply_to": "msg_999"}).status_code == 400
    assert api.post("/v1/messages", json=MESSAGE | {"to": "everybody"}).status_code == 400


def test_a_duplicated_send_arrives_twice_and_a_dropped_one_can_be_found(crm: Sandbox, api: httpx.Client) -> None:
    with crm.admin() as admin:
        for kind in ("duplicate", "drop_after"):
            fault = {"operation": "messages.send", "kind": kind}
            assert admin.post("/_faults", json=fault).status_code == 201
        assert api.post("/v1/messages", json=MESSAGE | {"client_reference": "twice"}).status_code == 201
        with pytest.raises(httpx.RemoteProtocolError):
            api.post("/v1/messages", json=MESSAGE | {"client_reference": "dropped"})
        entries = admin.get("/_log", params={"operation": "messages.send"}).json()["entries"]
    assert len(_sent(api, "twice")) == 2
    assert len(_sent(api, "dropped")) == 1
    assert [entry["outcome"] for entry in entries] == ["done"] * 3


def test_every_endpoint_needs_its_scope(crm: Sandbox) -> None:
    crm.check_scope(
        SCOPES,
        [
            ("GET", "/v1/companies", "companies:read", None),
            ("GET", "/v1/companies/com_marlow", "companies:read", None),
            ("GET", "/v1/contacts", "contacts:read", None),
            ("GET", "/v1/contacts/con_ada", "contacts:read", None),
            ("GET", "/v1/deals", "deals:read", None),
            ("GET", "/v1/notes", "notes:read", None),
            ("GET", "/v1/messages", "messages:read", None),
            ("GET", "/v1/messages/msg_001", "messages:read", None),
            ("PATCH", "/v1/contacts/con_ada", "contacts:write", {"title": "Head", "version": 1}),
            ("POST", "/v1/notes", "notes:write", {"contact_id": "con_ada", "body": "x"}),
            ("POST", "/v1/messages", "messages:send", MESSAGE),
            ("DELETE", "/v1/contacts/con_ada", "contacts:write", None),
        ],
    )


def test_state_outlives_a_restart(crm: Sandbox, api: httpx.Client) -> None:
    api.delete("/v1/contacts/con_ruth")
    _note(api, "k-1")
    with running("crm", create_app, crm.state) as again:
        api.base_url = again.url
        assert api.get("/v1/contacts/con_ruth").status_code == 404, "seeding does not bring it back"
        assert _note(api, "k-1").headers["idempotent-replayed"] == "true"
