"""Model providers over the API: registered by people, with keys that go in and never come out."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.integrator import Agent, join
from tests.http.model_providers import KEY, PATH, body, registered
from tests.http.world import World


def test_a_provider_lives_and_its_key_is_never_shown(world: World, shared: Organisation) -> None:
    api = shared.owner.api
    headers, wanted = once(), body(region="EU")
    answer = api.post(PATH, json=wanted, headers=headers)
    made = ok(answer)
    assert answer.status_code == 201
    assert (made["status"], made["key_generation"], made["region"]) == ("active", 1, "EU")
    again = api.post(PATH, json=wanted, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["id"] == made["id"]
    one = f"{PATH}/{made['id']}"
    assert ok(api.get(one)) == made
    assert made["id"] in [item["id"] for item in ok(api.get(PATH))["items"]]
    rotated = ok(api.patch(one, json={"api_key": f"{KEY}-new"}, headers=once()))
    assert rotated["key_generation"] == 2
    cheaper = {"claude-example-1": {"input_price": 1, "output_price": 2}}
    assert ok(api.patch(one, json={"models": cheaper}, headers=once()))["models"] == cheaper
    ended = ok(api.delete(one, headers=once()))
    assert ended["status"] == "revoked"
    said = "".join(
        (
            answer.text,
            again.text,
            str(rotated),
            str(ended),
            api.get(one).text,
            (world.stack.state / "api.log").read_text(),
        )
    )
    assert KEY not in said
    kept = "".join(
        str(row) for row in world.rows("select record from app.audit_events where record like '%%model_prov%%'")
    )
    kept += "".join(str(row) for row in world.rows("select answer from app.idempotency_keys"))
    kept += "".join(str(row) for row in world.rows("select decrypted_secret from vault.decrypted_secrets"))
    assert KEY not in kept
    assert api.patch(one, json={"region": "US"}, headers=once()).json()["code"] == "provider_revoked"


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": address}
        for address in (
            "http://models.example.com/v1", "https://127.0.0.1/v1", "https://10.0.0.8/v1", "https://localhost/v1",
            "https://169.254.169.254/latest", "https://printer.local/v1", "https://db.internal", "https://2130706433/v1",
            "https://user@models.example.com/v1", "https://models.example.com/v1?x=1", "https://intranet/v1",
        )
    ]
    + [{"api_key": "short"}, {"api_key": "with a space in it"}, {"models": {}}, {"currency": "euro"}, {"kind": "x"}],
)  # fmt: skip
def test_what_is_no_provider_is_refused(shared: Organisation, changes: dict[str, Any]) -> None:
    refused = shared.owner.api.post(PATH, json=body(**changes), headers=once())
    assert refused.status_code == 422
    assert KEY not in refused.text
    assert "with a space" not in refused.text


def test_who_trains_on_the_data_is_refused(shared: Organisation) -> None:
    declares = {"trains_on_data": True, "retention_days": 0, "basis": "Their terms"}
    refused = shared.owner.api.post(PATH, json=body(declares=declares), headers=once())
    assert (refused.status_code, refused.json()["code"]) == (422, "trains_on_data")
    made = registered(shared.owner)
    refused = shared.owner.api.patch(f"{PATH}/{made['id']}", json={"declares": declares}, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (422, "trains_on_data")


def test_a_name_is_taken_once_in_an_environment_and_free_when_it_ended(shared: Organisation) -> None:
    made = registered(shared.owner)
    refused = shared.owner.api.post(PATH, json=body(name=made["name"]), headers=once())
    assert (refused.status_code, refused.json()["code"]) == (409, "name_taken")
    ok(shared.owner.api.delete(f"{PATH}/{made['id']}", headers=once()))
    assert registered(shared.owner, name=made["name"])["id"] != made["id"]


def test_another_address_needs_another_key(shared: Organisation) -> None:
    one = f"{PATH}/{registered(shared.owner)['id']}"
    elsewhere = {"base_url": "https://elsewhere.example/v1"}
    refused = shared.owner.api.patch(one, json=elsewhere, headers=once())
    assert (refused.status_code, refused.json()["code"]) == (409, "key_required")
    moved = ok(shared.owner.api.patch(one, json=elsewhere | {"api_key": f"{KEY}-2"}, headers=once()))
    assert (moved["base_url"], moved["key_generation"]) == ("https://elsewhere.example/v1", 2)


def test_keys_and_people_without_the_permission_or_a_second_factor_may_not(shared: Organisation, agent: Agent) -> None:
    made = registered(shared.owner)
    for api in (agent.api, join(shared, "operator").api, join(shared, "admin", second_factor=False).api):
        assert api.post(PATH, json=body(), headers=once()).status_code == 403
        assert api.patch(f"{PATH}/{made['id']}", json={"region": "EU"}, headers=once()).status_code == 403
        assert api.delete(f"{PATH}/{made['id']}", headers=once()).status_code == 403
