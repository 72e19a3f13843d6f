"""The directory over HTTP: a maker, a checker, and what the tenant vouches for afterwards."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from sandbox.organisation import Organisation, ok, once
from tests.http.integrator import check, issue_key, join, new_organisation, proposed, vouched_for
from tests.http.problems import problem, unchanged
from tests.http.world import World

IBAN, OTHER_IBAN = "DE89370400440532013000", "NL91ABNA0417164300"
CHANGES = "/v1/directory/changes"


@pytest.fixture(scope="module")
def company(world: World) -> Organisation:
    """An organisation that has no connections and needs none."""
    return new_organisation(world, connected=False)


def bank(iban: str = IBAN, **more: Any) -> dict[str, Any]:
    return {"type": "bank_account", "iban": iban} | more


def create(name: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "create", "environment": "sandbox", "reason": "new vendor",
        "entry": {"kind": "vendor", "name": name, "details": details},
    }  # fmt: skip


def asked(company: Organisation, **about: str) -> dict[str, Any]:
    answer: dict[str, Any] = ok(company.owner.api.get("/v1/directory/match", params={"environment": "sandbox"} | about))
    return answer


def test_from_proposal_to_trust(company: Organisation) -> None:
    body = create(
        "Kestrel Software Ltd",
        bank("de89 3704 0044 0532 0130 00", bic="deutdeff", holder="Kestrel"),
        {"type": "email", "email": "Billing@KESTREL.example"},
        {"type": "domain", "domain": "Kestrel.example."},
        {"type": "phone", "phone": "0049 (30) 90-1820"},
        {"type": "address", "address": "1 Mill Lane, Leeds"},
        {"type": "external_id", "system": "vat", "id": "DE136695976"},
    ) | {"evidence": [{"kind": "call_back", "reference": "their switchboard, 14:20"}]}
    change = proposed(company.owner, body)
    assert asked(company, account=IBAN)["state"] == "unknown"
    shown = ok(company.approver.api.get(f"{CHANGES}/{change['id']}"))
    assert (shown["before"], shown["warnings"], shown["evidence"]) == (None, [], body["evidence"])
    ok(check(company.approver, change, reason="called them too"))

    entry = ok(company.owner.api.get(f"/v1/directory/{change['entry_id']}"))
    details = {detail["type"]: detail for detail in entry["details"]}
    assert (details["bank_account"]["iban"], details["bank_account"]["bic"]) == (IBAN, "DEUTDEFF")
    assert details["email"]["email"] == "billing@kestrel.example"
    assert details["phone"]["phone"] == "+4930901820"
    assert {t: d["state"] for t, d in details.items() if d["state"] != "trusted"} == {"bank_account": "cooling_off"}
    assert (entry["made_by"]["id"], entry["checked_by"]) == (company.owner.user_id, company.approver.user_id)
    assert [(h["id"], h["decision_reason"]) for h in entry["history"]] == [(change["id"], "called them too")]

    both = asked(company, account=IBAN, name="kestrel  SOFTWARE ltd")
    assert (both["state"], both["warnings"]) == ("cooling_off", [])
    until = datetime.fromisoformat(both["trusted_from"]) - datetime.now(UTC)
    assert timedelta(hours=71) < until <= timedelta(hours=72)
    assert asked(company, email="billing@kestrel.example")["state"] == "trusted"
    assert asked(company, email="else@kestrel.example")["state"] == "trusted"  # by its domain
    assert asked(company, name="Kestrel Software")["state"] == "unknown"


def test_what_looks_like_somebody_known_is_not(company: Organisation) -> None:
    vouched_for(company, "Solstice Events", {"type": "domain", "domain": "solstice.example"}, bank(OTHER_IBAN))
    for domain in ("solstlce.example", "so1stice.example", "solstiice.example", "s\u043elstice.example"):
        answer = asked(company, domain=domain)
        assert answer["state"] == "unknown"
        assert [warning["kind"] for warning in answer["warnings"]] == ["similar_domain"], domain
    for name in ("Solstice Event", "SoIstice Events", "Solstice-Events"):
        answer = asked(company, name=name)
        assert answer["state"] == "unknown"
        assert [warning["kind"] for warning in answer["warnings"]] == ["similar_name"], name
    wrong = asked(company, name="Solstice Events", account="GB29NWBK60161331926819")
    assert (wrong["state"], [w["kind"] for w in wrong["warnings"]]) == ("unknown", ["other_account"])
    assert asked(company, name="Nobody at all", domain="elsewhere.example")["warnings"] == []
    # And the checker of such an entry is told.
    twin = proposed(
        company.owner, create("Solstice Event", {"type": "domain", "domain": "solstlce.example"}, bank(OTHER_IBAN))
    )
    warnings = ok(company.approver.api.get(f"{CHANGES}/{twin['id']}"))["warnings"]
    assert {warning["kind"] for warning in warnings} == {"similar_name", "similar_domain", "different_entries"}
    ok(check(company.approver, twin, "reject", reason="this is somebody else"))


def test_a_change_of_the_account_cools_off_and_removal_is_at_once(company: Organisation) -> None:
    made = vouched_for(company, "Harbour Logistics", bank("GB29NWBK60161331926819"))
    entry = {"kind": "vendor", "name": "Harbour Logistics", "details": [bank("FR1420041010050500013M02606")]}
    path = {"entry_id": made["entry_id"], "version": 1}
    change = proposed(company.owner, {"kind": "change", "entry": entry} | path)
    shown = ok(company.approver.api.get(f"{CHANGES}/{change['id']}"))
    assert shown["before"]["details"][0]["iban"] == "GB29NWBK60161331926819"
    ok(check(company.approver, change))
    assert asked(company, account="GB29NWBK60161331926819")["state"] == "unknown"
    assert asked(company, account="FR1420041010050500013M02606")["state"] == "cooling_off"
    problem(company.owner.api.post(CHANGES, json={"kind": "remove", "reason": "x"} | path, headers=once()), 409)
    remove = proposed(company.owner, {"kind": "remove", "entry_id": made["entry_id"], "version": 2})
    ok(check(company.approver, remove))
    assert asked(company, account="FR1420041010050500013M02606")["state"] == "unknown"
    assert asked(company, name="Harbour Logistics")["state"] == "unknown"
    gone = ok(company.owner.api.get(f"/v1/directory/{made['entry_id']}"))
    assert (gone["status"], gone["details"], len(gone["history"])) == ("removed", [], 3)
    change = {"kind": "change", "entry": entry, "entry_id": made["entry_id"], "version": 3, "reason": "x"}
    problem(company.owner.api.post(CHANGES, json=change, headers=once()), 404, "not_found")


def test_the_cooling_off_period_is_changed_by_two_and_lowered_after_it_has_gone_by(fresh: Organisation) -> None:
    """Who could lower it at once could have an account approved and paid within the minute."""

    def settings() -> dict[str, Any]:
        found: dict[str, Any] = ok(fresh.owner.api.get("/v1/directory/settings"))
        return found

    unlowered = {"lowered_to": None, "lowered_from_at": None}
    assert settings() == {"version": 0, "cooling_off_hours": 72, "change_id": None} | unlowered
    change = proposed(fresh.owner, {"kind": "settings", "version": 0, "cooling_off_hours": 0})
    problem(check(fresh.owner, change), 403, "own_change")
    ok(check(fresh.approver, change))
    lowered = settings()
    waits = datetime.fromisoformat(lowered.pop("lowered_from_at")) - datetime.now(UTC)
    assert timedelta(hours=71, minutes=59) < waits < timedelta(hours=72, minutes=1)
    assert lowered == {"version": 1, "cooling_off_hours": 72, "lowered_to": 0, "change_id": change["id"]}
    vouched_for(fresh, "Oakline", bank())
    assert asked(fresh, account=IBAN, name="Oakline")["state"] == "cooling_off"

    raised = proposed(fresh.owner, {"kind": "settings", "version": 1, "cooling_off_hours": 100})
    shown = ok(fresh.approver.api.get(f"{CHANGES}/{raised['id']}"))["before"]
    assert (shown["cooling_off_hours"], shown["lowered_to"]) == (72, 0)
    ok(check(fresh.approver, raised))
    assert settings() == {"version": 2, "cooling_off_hours": 100, "change_id": raised["id"]} | unlowered


def test_the_maker_does_not_check_and_the_checker_names_what_they_saw(company: Organisation, world: World) -> None:
    change = proposed(company.owner, create("Lumen Energy"))
    plain = join(company, "admin", second_factor=False)
    with unchanged(world):
        problem(check(company.owner, change), 403, "own_change")
        problem(check(plain, change), 403, "aal2_required")
        problem(check(company.approver, change | {"digest": f"sha256:{'0' * 64}"}), 409, "digest_mismatch")
        problem(check(company.approver, change, "reject"), 422, "invalid_request")
        withdraw = f"{CHANGES}/{change['id']}/withdraw"
        problem(company.approver.api.post(withdraw, json={}, headers=once()), 403, "not_the_proposer")
    assert ok(company.owner.api.post(withdraw, json={"reason": "mistake"}, headers=once()))["status"] == "withdrawn"
    problem(check(company.approver, change), 409, "already_decided")


def test_a_key_proposes_in_its_environment_and_checks_nothing(company: Organisation) -> None:
    key = issue_key(company, scopes=["directory.read", "directory.propose"])
    with httpx.Client(base_url=company.stack.url["api"], headers={"Authorization": f"Bearer {key['secret']}"}) as agent:
        change = ok(agent.post(CHANGES, json=create("Juniper Studio", bank()), headers=once()))
        approve = f"{CHANGES}/{change['id']}/approve"
        problem(agent.post(approve, json={"digest": change["digest"]}, headers=once()), 403, "permission_denied")
        # The owner made the account and its key.
        problem(check(company.owner, change), 403, "own_change")
        ok(check(company.approver, change))
        live = create("Juniper Studio") | {"environment": "production"}
        problem(agent.post(CHANGES, json=live, headers=once()), 403, "wrong_environment")
        other = {"environment": "production", "name": "Juniper Studio"}
        assert ok(agent.get("/v1/directory/match", params=other))["state"] == "unknown"
    with company.agent() as unscoped:
        problem(unscoped.get("/v1/directory"), 403, "permission_denied")


def test_a_repeated_proposal_is_the_same_one(company: Organisation) -> None:
    made = vouched_for(company, "Repeat Ltd")
    body = {"kind": "remove", "entry_id": made["entry_id"], "version": 1, "reason": "closed"}
    key = once()
    first = company.owner.api.post(CHANGES, json=body, headers=key)
    ok(check(company.approver, ok(first)))
    again = company.owner.api.post(CHANGES, json=body, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()


def test_the_directory_is_searched_and_paged(fresh: Organisation) -> None:
    for name, iban in (("Northwind Paper GmbH", IBAN), ("Northwind Print", OTHER_IBAN), ("Südwind", None)):
        vouched_for(
            fresh, name, *([bank(iban)] if iban else []), {"type": "email", "email": f"x@{name[-5:].strip()}.example"}
        )

    def found(**params: Any) -> list[str]:
        page = ok(fresh.owner.api.get("/v1/directory", params=params))
        return [entry["name"] for entry in page["items"]]

    assert found() == ["Südwind", "Northwind Print", "Northwind Paper GmbH"]
    assert found(search="NORTHWIND p") == ["Northwind Print", "Northwind Paper GmbH"]
    assert found(search="de89 3704 0044 0532 0130 00") == ["Northwind Paper GmbH"]
    assert found(search="X@print.example") == ["Northwind Print"]
    assert found(search="%") == []
    assert found(environment="production") == []
    first = ok(fresh.owner.api.get("/v1/directory", params={"limit": 2}))
    rest = ok(fresh.owner.api.get("/v1/directory", params={"limit": 2, "cursor": first["next_cursor"]}))
    assert [len(first["items"]), len(rest["items"]), rest["has_more"]] == [2, 1, False]
    changes = ok(fresh.owner.api.get(CHANGES, params={"status": "approved"}))
    assert len(changes["items"]) == 3


@pytest.mark.parametrize(
    "detail",
    [
        bank("DE89370400440532013001"),
        bank("XX00"),
        bank(account_number="1"),
        {"type": "bank_account", "account_number": "12345"},
        {"type": "bank_account", "routing_number": "021000022", "account_number": "12345"},
        bank(bic="NOPE"),
        {"type": "email", "email": "nobody"},
        {"type": "email", "email": "a@b@c.example"},
        {"type": "domain", "domain": "https://kestrel.example/pay"},
        {"type": "domain", "domain": "localhost"},
        {"type": "phone", "phone": "030 901820"},
        {"type": "external_id", "system": "a b", "id": "1"},
        {"type": "pigeon", "loft": "3"},
    ],
)
def test_what_is_no_account_address_or_number_is_refused(
    company: Organisation, detail: dict[str, Any], world: World
) -> None:
    with unchanged(world):
        answer = company.owner.api.post(CHANGES, json=create("Wrong", detail), headers=once())
        problem(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "create"},
        create("  "),
        create("Twice", bank(), bank("DE89 3704 0044 0532 0130 00")),
        create("No reason") | {"reason": "  "},
        create("Both") | {"cooling_off_hours": 3},
        {"kind": "settings", "version": 0, "cooling_off_hours": 721, "reason": "x"},
        {"kind": "settings", "version": 0, "cooling_off_hours": 1, "environment": "sandbox", "reason": "x"},
        {"kind": "remove", "version": 1, "reason": "x"},
    ],
)
def test_what_does_not_fit_together_is_refused(company: Organisation, body: dict[str, Any], world: World) -> None:
    with unchanged(world):
        problem(company.owner.api.post(CHANGES, json=body, headers=once()), 422, "invalid_request")


def test_what_cannot_be_compared_is_refused(company: Organisation) -> None:
    for about, code in (
        ({"account": "DE00"}, "not_comparable"),
        ({"email": "x"}, "not_comparable"),
        ({}, "nothing_asked"),
    ):
        answer = company.owner.api.get("/v1/directory/match", params={"environment": "sandbox"} | about)
        problem(answer, 422, code)
