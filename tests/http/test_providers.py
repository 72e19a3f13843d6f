"""What the API shows of providers before anybody connects one."""

from sandbox.organisation import Organisation, ok


def test_a_provider_is_shown_with_what_a_person_has_to_know(shared: Organisation) -> None:
    providers = {provider["name"]: provider for provider in ok(shared.owner.api.get("/v1/providers"))}
    bank = providers["sandbox_bank"]
    assert (bank["title"], bank["kind"], bank["facts_checked"]) == ("Sandbox bank", "bank", "2026-11")
    assert (bank["environments"], bank["parameters"], bank["unverified"]) == (["production", "sandbox"], {}, [])
    assert bank["scopes"]["write"] == [*bank["scopes"]["read"], "payments:write", "refunds:write"]
    assert (bank["read_enforced_by"], bank["revocable"]) == ("provider", True)
    life = {"access_seconds": 300, "refresh_rotates": True, "refresh_idle_days": None, "consent_days": None}
    assert bank["tokens"] == life
    pay = {"name": "sandbox_bank.payments.create", "title": "Pay a vendor from one of our accounts"}
    assert pay | {"access": "write", "effect": "money_movement"} in bank["tools"]


def test_every_provider_says_where_its_facts_come_from(shared: Organisation) -> None:
    for provider in ok(shared.owner.api.get("/v1/providers")):
        assert provider["sources"], provider["name"]
        assert provider["tools"], provider["name"]
        for parameter in provider["parameters"].values():
            assert parameter["title"]
            assert parameter["pattern"].startswith("^")
