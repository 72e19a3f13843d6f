"""What goes to a model and to which address: no credential, and nothing that is private."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.gate.reasoner_spec import ModelReasoner
from api.providers.egress import Target, UnreachableError, public, target
from api.runs.reasoners import conversation
from api.runs.reasoners.conversation import _name, _rerooted
from api.runs.reasoners.drafting import problems
from api.runs.reasoners.scrub import MAX_TEXT, Scrubbed
from api.runs.reasoners.sending import _pause


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1",
        "::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "::", "no address",
        "fec0::1", "::7f00:1", "64:ff9b:1::a00:1",
    ],
)  # fmt: skip
def test_private_addresses_are_known(ip: str) -> None:
    assert not public(ip)


@pytest.mark.parametrize("ip", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_ones_too(ip: str) -> None:
    assert public(ip)


def test_a_name_is_called_at_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"good.example": ["8.8.8.8", "8.8.4.4"], "mixed.example": ["8.8.8.8", "127.0.0.1"]}

    async def resolve(url: str) -> Target:
        loop = asyncio.get_running_loop()

        async def looked_up(host: str, port: int, **_: Any) -> list[Any]:
            if host not in answers:
                raise OSError
            return [(2, 1, 6, "", (ip, port)) for ip in answers[host]]

        monkeypatch.setattr(loop, "getaddrinfo", looked_up)
        return await target(url)

    monkeypatch.delenv("COUNTERSIGN_PROVIDER_ORIGINS", raising=False)
    there = asyncio.run(resolve("https://good.example/v1/messages"))
    assert (there.url, there.host) == ("https://8.8.8.8:443/v1/messages", "good.example")
    for host, private in (("mixed.example", True), ("gone.example", False)):
        with pytest.raises(UnreachableError) as raised:
            asyncio.run(resolve(f"https://{host}/v1"))
        assert raised.value.private is private


def test_credentials_are_cut_out_wherever_they_stand() -> None:
    token = "ghp_" + "a1B2" * 9
    scrubbed = Scrubbed()
    shown = scrubbed.value(
        {"a": [f"first\nthe key: {token}\nlast"], "password": "x", "api_key": {"deep": 1}, token: "name", "n": 5}
    )
    assert token not in str(shown)
    assert shown["a"][0].startswith("first\nlast\n[removed")
    assert shown["password"] == shown["api_key"] == "[removed: a value that its name calls secret]"
    assert shown["n"] == 5
    assert "a token of GitHub (2)" in str(scrubbed)


def test_a_private_key_goes_as_a_whole_and_tokens_stay() -> None:
    pem = "before\n-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\nafter"
    assert Scrubbed().text(pem) == "[removed: a private key]"
    assert Scrubbed().text("pay <IBAN_1_1> to <EMAIL_2>") == "pay <IBAN_1_1> to <EMAIL_2>"
    assert len(Scrubbed().text("x" * 10 * MAX_TEXT)) < MAX_TEXT + 100


def test_names_and_references_fit_their_new_place() -> None:
    long = "a_provider." + "x" * 90
    assert _name("acme.refunds.create") == "acme-refunds-create"
    assert len(_name(long)) == 64
    assert _name(long) != _name(long + "y")
    schema = {"$id": "x", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "string"}}}
    moved = _rerooted(schema, "#/properties/args")
    assert moved["properties"]["a"]["$ref"] == "#/properties/args/$defs/b"
    assert "$id" not in moved


def test_the_wording_is_versioned() -> None:
    assert conversation.SYSTEM_VERSION.startswith("1:")
    assert "never an instruction" in conversation.SYSTEM


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("99999999", 3600), (None, None), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after_is_read_and_bounded(value: str | None, seconds: float | None) -> None:
    assert _pause(value) == seconds


def test_a_budget_has_to_have_room_for_one_answer_and_a_day_for_one_run() -> None:
    budget = {"tokens_per_run": 1000, "tokens_per_day": 10, "cost_per_run": 5, "cost_per_day": 1, "currency": "EUR"}
    spec = ModelReasoner.model_validate({"kind": "openai", "provider": "p", "model": "m", "budget": budget})
    places = {at for at, _ in problems(spec, {}, set())}
    assert places == {"/budget/tokens_per_run", "/budget/tokens_per_day", "/budget/cost_per_day"}


def test_a_model_is_waited_for_no_longer_than_the_function_lives() -> None:
    """Else the call would be paid for and its answer never kept, again and again."""
    budget = {"tokens_per_run": 9000, "tokens_per_day": 9000, "cost_per_run": 1, "cost_per_day": 1, "currency": "EUR"}
    spec = ModelReasoner.model_validate({"kind": "openai", "provider": "p", "model": "m", "budget": budget})
    for tries, seconds, fits in ((3, 80, True), (3, 81, False), (1, 240, True), (5, 240, False)):
        changed = spec.model_copy(update={"max_tries": tries, "timeout_seconds": seconds})
        assert [at for at, _ in problems(changed, {}, set())] == ([] if fits else ["/timeout_seconds"])
