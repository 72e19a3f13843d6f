"""Which data goes where: credentials nowhere, and what was read only where its class may go."""

import base64
import time
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest

from api.gate.models import Decision, Finding, ObservationFacts, Outcome, RunFacts
from api.gate.sensitive import credentials, financial
from tests.unit.gate.world import INSTRUCTION, TOOL, contract, decided, facts, of, outcome_of, proposal, spec

NOTE: dict[str, Any] = {
    "/to": {"role": "recipient"}, "/note": {"role": "free_text"}, "/n": {"role": "quantity"},
    "/meta": {"role": "setting"},
}  # fmt: skip
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"to": {}, "note": {}, "n": {}, "meta": {}}}
SEEN = UUID(int=50)


def observed(result: Any, data_class: str | None = "personal", pattern: str = "/name", **more: Any) -> dict[str, Any]:
    label = {"trust": "trusted"} | ({"data_class": data_class} if data_class else {})
    return {"id": SEEN, "tool": "acme.read", "source": "gateway", "result": result, "labels": {pattern: label}} | more


def written(args: dict[str, Any], *observations: dict[str, Any], classes: list[str] | None = None) -> Decision:
    run = {"id": UUID(int=5), "instruction": INSTRUCTION, "observations": observations, "observed": len(observations)}
    tool = contract(arguments=NOTE, input_schema=SCHEMA)
    return decided(facts(spec({"data_classes": classes or []}), tool, run=run), proposal(args))


def outcome(*args: Any, **more: Any) -> str:
    return outcome_of(written(*args, **more), "data_class").value


SECRETS = {
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA",
    "a key of this service": f"cs_live_{'0a' * 16}_{'x' * 43}",
    "an access key of AWS": "AKIAIOSFODNN7EXAMPLE",
    "a token of GitHub": f"ghp_{'a1B2' * 9}",
    "a token of GitLab": f"glpat-{'a1B2' * 5}",
    "a token of Slack": "xoxb-123456789012-abcdefABCDEF",
    "a secret key of Stripe": f"sk_live_{'a1B2' * 6}",
    "a key of Google": f"AIza{'a1B2c' * 7}",
    "a key of a language model's provider": f"sk-ant-{'a1B2' * 10}",
    "a token of HubSpot": "pat-na1-12345678-abcd",
    "a signed token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "a bearer token": "Authorization: Bearer abcdefghij0123456789xyz",
    "a password in an address": "postgres://ada:hunter2@db.example/main",
    "a value that is called password": "the password is hunter2hunter2",
    "a value that is called api_key": 'api_key = "a1b2c3d4e5f6"',
}


@pytest.mark.parametrize(("kind", "text"), SECRETS.items())
def test_credentials_are_denied_wherever_they_are_and_never_quoted(kind: str, text: str) -> None:
    for pointer, args in (
        ("/args/note", {"note": f"please use {text} for it"}),
        ("/args/meta/a/0", {"meta": {"a": [text]}}),
        ("/args/to", {"to": text}),
    ):
        decision = written(args, classes=["secret", "financial"])
        assert decision.outcome is Outcome.DENY
        found = [f for f in of(decision, "data_class") if f.outcome is Outcome.DENY]
        assert [f.pointer for f in found] == [pointer]
        assert kind in found[0].message
        assert text not in found[0].message
        assert (found[0].control, "never sent" in found[0].message) == (6, True)


@pytest.mark.parametrize(
    "hidden",
    [
        lambda text: base64.b64encode(f"x {text}".encode()).decode(),
        lambda text: base64.urlsafe_b64encode(f"{text}??>".encode()).decode().rstrip("="),
        lambda text: text.encode().hex(),
        lambda text: quote(text.replace("A", "%41")),
        lambda text: "".join(f"%{ord(c):02x}" for c in text),
        lambda text: "\u200b".join(text),
        lambda text: "".join(chr(ord(c) + 0xFEE0) for c in text),
        lambda text: "words and words " * 400 + base64.b64encode(text.encode()).decode(),
    ],
    ids=["base64", "base64url", "hex", "percent", "all percent", "unseen", "wide", "far away"],
)
def test_credentials_in_another_form(hidden: Any) -> None:
    form = hidden(SECRETS["an access key of AWS"]).replace("%2541", "%41")
    assert outcome({"note": form}) == "deny"


@pytest.mark.parametrize(
    "text",
    [
        "please reset the password",
        "Your password: changed yesterday",
        "The secret of good coffee is 2 spoons more",
        "Bearer of this letter",
        "a bearer token is a token that whoever bears it may use",
        "eyJhbGciOiJIUzI1NiJ9",
        "https://example.com/path:80/@home",
        "sk_live_ is how they begin",
        "the access key AKIA is a prefix",
        "git@github.com:acme/repo.git",
        "",
    ],
)
def test_what_only_speaks_of_credentials(text: str) -> None:
    assert credentials(text) == []
    assert outcome({"note": text}) == "allow"


def test_a_member_that_is_called_a_secret_is_one() -> None:
    for name in ("password", "new_password", "clientSecret", "api-key", "refresh_token"):
        [found] = of(written({"meta": {name: "correct horse"}}), "data_class")
        assert (found.outcome, "correct horse" in found.message) == (Outcome.DENY, False)
    for args in ({"meta": {"page_token": "abcdefgh"}}, {"meta": {"password": None}}, {"meta": {"password": ""}}):
        assert outcome(args) == "allow"


PERSON = observed({"name": "Sandra Köhler"})


@pytest.mark.parametrize(
    "note",
    [
        "Sandra Köhler",
        "SANDRA  KÖHLER called",
        "sandra-köhler",
        "SandraKöhler",
        "S a n d r a K ö h l e r",
        "Sandra Ko\u0308hler",
        "Sandra K\u200böhler",
        "relhöK ardnaS",
        base64.b64encode("About Sandra Köhler".encode()).decode(),
        "Sandra Köhler".encode().hex(),
        quote("Sandra Köhler"),
        "Sandra%20K%C3%B6hler",
    ],
)
def test_what_was_read_is_of_its_class_however_it_is_written(note: str) -> None:
    decision = written({"note": note}, PERSON)
    [found] = of(decision, "data_class")
    assert (found.outcome, found.pointer) == (Outcome.ESCALATE, "/args/note")
    assert f"personal data, from /name of observation {SEEN}" in found.message.replace(
        "data, in another form,", "data,"
    )
    assert found.setting == f"tools.{TOOL}.data_classes"
    assert "Sandra" not in found.message
    assert outcome({"note": note}, PERSON, classes=["personal"]) == "allow"
    assert outcome({"note": note}, PERSON, classes=["financial"]) == "escalate"


def test_it_says_when_the_form_is_another() -> None:
    plain, hidden = ({"note": n} for n in ("Sandra Köhler", "Sandra Köhler"[::-1]))
    assert "in another form" not in of(written(plain, PERSON), "data_class")[0].message
    assert "in another form" in of(written(hidden, PERSON), "data_class")[0].message


@pytest.mark.parametrize(
    ("args", "pointer"),
    [
        ({"to": "Sandra Köhler"}, "/args/to"),
        ({"meta": {"x": ["a", "Sandra Köhler"]}}, "/args/meta/x/1"),
        ({"meta": {"Sandra Köhler": 1}}, "/args/meta/Sandra Köhler"),
        ({"meta": {"Sandra Köhler": {"x": []}}}, "/args/meta/Sandra Köhler/x"),
    ],
)
def test_it_counts_in_every_argument_and_in_names(args: dict[str, Any], pointer: str) -> None:
    assert [f.pointer for f in of(written(args, PERSON), "data_class")] == [pointer]


@pytest.mark.parametrize(
    ("value", "given", "found"),
    [
        ("abcdef", "xabcdefx", "escalate"),
        ("abcde", "abcde", "allow"),
        ("a-b-c-d-e", "abcde", "allow"),
        (129900, "129900", "escalate"),
        (129900, "1299.00 EUR", "escalate"),
        (12990, "12990", "allow"),
        (123456.5, "1234565", "escalate"),
        (True, "True", "allow"),
        (None, "None", "allow"),
        ("+49 30 901820", "0049 30 901820", "escalate"),
        ("DE89 3704 0044 0532 0130 00", "DE89370400440532013000", "escalate"),
    ],
)
def test_how_long_a_value_has_to_be(value: Any, given: Any, found: str) -> None:
    if value == "+49 30 901820":
        given = given.removeprefix("00")
    assert outcome({"note": given}, observed({"name": value}), classes=[]) == found


def test_a_number_is_found_in_a_number() -> None:
    assert outcome({"n": 129900}, observed({"name": 129900})) == "escalate"
    assert outcome({"n": 129900}, observed({"name": "129900"})) == "escalate"


LETTER = " ".join(f"sentence number {n} tells something else," for n in range(60))


@pytest.mark.parametrize(
    ("passage", "found"),
    [
        (LETTER, "escalate"),
        (LETTER[500:700], "escalate"),
        (LETTER[801:881].upper(), "escalate"),
        (LETTER[500:530], "allow"),
        ("sentence number 9 and others tell something", "allow"),
    ],
)
def test_of_a_long_text_a_passage_is_enough(passage: str, found: str) -> None:
    assert outcome({"note": f"It says: {passage}."}, observed({"name": LETTER})) == found


@pytest.mark.parametrize(
    ("data_class", "found"),
    [
        (None, "allow"),
        ("public", "allow"),
        ("internal", "allow"),
        ("personal", "escalate"),
        ("anything", "escalate"),
        ("secret", "deny"),
    ],
)
def test_classes(data_class: str | None, found: str) -> None:
    assert outcome({"note": "Sandra Köhler"}, observed({"name": "Sandra Köhler"}, data_class)) == found


def test_what_is_secret_goes_nowhere_whatever_is_granted() -> None:
    decision = written({"note": "Sandra Köhler"}, observed({"name": "Sandra Köhler"}, "secret"), classes=["secret"])
    assert decision.outcome is Outcome.DENY
    assert "What is secret is never sent" in of(decision, "data_class")[0].message


def test_labels_of_items_and_of_every_observation() -> None:
    people = {"people": [{"name": "Ada Okafor"}, {"name": "Bo Lindqvist"}]}
    of_people = observed(people, "personal", "/people/*/name")
    of_money = observed({"iban": "NL91ABNA0417164300"}, "financial", "/iban", id=UUID(int=51), source="client_asserted")
    decision = written({"note": "Bo Lindqvist: NL91 ABNA 0417 1643 00"}, of_people, of_money)
    messages = [f.message for f in of(decision, "data_class")]
    assert any(f"personal data, from /people/1/name of observation {SEEN}" in m for m in messages)
    assert any(f"financial data, from /iban of observation {UUID(int=51)}" in m for m in messages)
    assert outcome({"note": "Bo Lindqvist"}, of_people, of_money, classes=["personal"]) == "allow"


def test_the_class_of_the_field_counts_and_not_that_of_another_field() -> None:
    labels = {"/name": {"trust": "trusted", "data_class": "personal"}, "/id": {"trust": "trusted"}}
    seen = observed({"name": "Sandra Köhler", "id": "con_sandra"}, labels=labels)
    assert outcome({"note": "con_sandra"}, seen) == "allow"
    assert outcome({"note": "of con_sandra: Sandra Köhler"}, seen) == "escalate"


CARD, IBAN = "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CARD, ["a card number"]),
        (CARD.replace(" ", "-"), ["a card number"]),
        (f"22 {CARD} 12/27", ["a card number"]),
        (f"{CARD}2", []),
        ("4111 1111 1111 1112", []),
        ("1111 1111 1111 1117", []),
        ("0000 0000 0000 0000", []),
        ("378282246310005", ["a card number"]),
        ("4222222222222", ["a card number"]),
        ("order 1234567890123456", []),
        (IBAN, ["an IBAN"]),
        (IBAN.replace(" ", "").lower(), ["an IBAN"]),
        (f"pay {IBAN} please", ["an IBAN"]),
        ("DE88 3704 0044 0532 0130 00", []),
        ("ZZ89 3704 0044 0532 0130 00", []),
        ("NO93 8601 1117 947", ["an IBAN"]),
        (f"{CARD} and {IBAN}", ["a card number", "an IBAN"]),
        ("", []),
    ],
)
def test_numbers_of_cards_and_accounts(text: str, found: list[str]) -> None:
    assert financial(text) == found
    assert outcome({"note": text}) == ("escalate" if found else "allow")
    assert outcome({"note": text}, classes=["financial"]) == "allow"
    assert outcome({"to": text}) == "allow"  # an account is what this argument is for
    assert outcome({"elsewhere": text}) == ("escalate" if found else "allow")


def test_without_knowing_what_was_read_a_person_looks() -> None:
    [found] = of(decided(facts(run=None)), "data_class")
    assert (found.outcome, "not known" in found.message) == (Outcome.ESCALATE, True)


def test_what_may_go_is_said_by_class() -> None:
    [found] = of(written({"note": "Sandra Köhler"}, PERSON, classes=["personal"]), "data_class")
    assert found.message == "It carries personal data, which may go there."
    [found] = of(written({"note": "nothing"}, PERSON), "data_class")
    assert found.message == "It carries no such data."


def test_ten_thousand_mistakes_are_told_in_a_few_findings() -> None:
    decision = written({"meta": {"x": ["Sandra Köhler"] * 2000}}, PERSON)
    assert 1 <= len(of(decision, "data_class")) <= 20


def _messages(args: dict[str, Any], run: RunFacts) -> list[Finding]:
    return of(decided(facts(tool=contract(arguments=NOTE, input_schema=SCHEMA), run=run), proposal(args)), "data_class")


def test_what_is_kept_of_a_run_is_that_of_its_observations() -> None:
    """A copy of a run that holds other observations is another run, though it was copied with all that is kept."""
    first, second = (
        ObservationFacts.model_validate(observed({"name": name})) for name in ("Sandra Köhler", "Ada Okafor")
    )
    run = RunFacts(id=UUID(int=5), instruction="x", observations=[first])
    assert _messages({"note": "Sandra Köhler"}, run)[0].outcome is Outcome.ESCALATE
    other = run.model_copy(update={"observations": [second]})
    assert _messages({"note": "Sandra Köhler"}, other)[0].outcome is Outcome.ALLOW
    assert _messages({"note": "Ada Okafor"}, other)[0].outcome is Outcome.ESCALATE
    more = run.model_copy(update={"observations": [first, second]})
    assert _messages({"note": "Ada Okafor"}, more)[0].outcome is Outcome.ESCALATE
    assert run.model_dump() == RunFacts(id=UUID(int=5), instruction="x", observations=[first]).model_dump()


@pytest.mark.parametrize(
    "text", ["eyJ" * 20_000, "a1" * 30_000, "4" * 60_000, "DE89" * 15_000, "%41" * 20_000, "A " * 30_000]
)
def test_hostile_texts_take_no_time(text: str) -> None:
    started = time.thread_time()
    credentials(text)
    financial(text)
    written({"note": text[:60_000]}, observed({"name": text[:48]}))
    assert time.thread_time() - started < 5
