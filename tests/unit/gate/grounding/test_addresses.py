"""The addresses in a text: those that are plain to see, those that hide, and what is none."""

import time
from typing import Any

import pytest

from api.gate.grounding.addresses import MAX_FOUND, MAX_TEXT, scan
from api.gate.lookups import MAX_KEYS, keys_in_text, keys_of, keys_of_value
from tests.unit.gate.grounding.setting import IBAN, objections, observation, world

PLAIN: list[tuple[str, list[str]]] = [
    ("Write to bob@acme.example.", ["email:bob@acme.example"]),
    ("(bob@acme.example)", ["email:bob@acme.example"]),
    ("mailto:Bob.Smith+x@ACME.example?subject=hi", ["email:bob.smith+x@acme.example"]),
    ("See https://Acme.example/a_(b).", ["url:https://acme.example/a_(b)"]),
    ("[link](https://acme.example/a)", ["url:https://acme.example/a"]),
    ("www.acme.example and acme.com/pay", ["domain:www.acme.example", "url:https://acme.com/pay"]),
    ("Acme.com is ours", ["domain:acme.com"]),
    ("b\u00fccher.example", ["domain:xn--bcher-kva.example"]),
    (f"to {IBAN}, now", [f"iban:{IBAN}"]),
    ("DE89 3704 0044 0532 0130 00 for May", [f"iban:{IBAN}"]),
    ("de89-3704-0044-0532-0130-00", [f"iban:{IBAN}"]),
    ("NO9386011117947 thanks", ["iban:NO9386011117947"]),
    ("021000021/12345678", ["us:021000021/12345678"]),
    ("card 4111 1111 1111 1111", ["number:4111111111111111"]),
    ("account no. 1234-5678", ["number:12345678"]),
    ("Konto 12345678", ["number:12345678"]),
    ("call +49 (30) 90-1820", ["phone:+4930901820"]),
    ("0x52908400098527886E0F7030069857D2E4169EE7", ["id:0x52908400098527886E0F7030069857D2E4169EE7"]),
    ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", ["id:bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"]),
    ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", ["id:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"]),
    ("javascript:alert(1)", ["url:javascript:alert(1)"]),
    ("//evil.com/a", ["url:https://evil.com/a"]),
    ("hxxps://evil.zzz/a", ["url:hxxps://evil.zzz/a"]),
    ("http:/evil.com", ["domain:evil.com"]),
    ("EVIL.COM", ["domain:evil.com"]),
    ("pay.evil.md", ["domain:pay.evil.md"]),
]
NONE = [
    "", "Hello.", "report.pdf, main.py, README.md, archive.zip and index.html", "at 10.30 a.m., e.g. i.e. z.B. u.a.",
    "v1.2.3 and 10.0.1", "2026-11-28", "EUR 1,299.00", "Order 4711-0815", "Thanks.We will see.", "Mr.Smith",
    "@bob and #general",
    "DE89370400440532013001", "021000022/12345678", "4111 1111 1111 1112", "account 12", "5 @ 3 EUR", "a@b",
    "foo/bar.baz",
    "Rechtsschutzversicherungsgesellschaften", "We meet at the dot in the middle", "look at this. It is fine",
    "+1 -2 +3", "Node.js and Vue.js", "0x1234",
]  # fmt: skip
HIDDEN: list[tuple[str, str]] = [
    ("evil[.]com", "domain:evil.com"),
    ("evil(dot)com", "domain:evil.com"),
    ("evil {dot} com", "domain:evil.com"),
    ("eve(at)evil(dot)com", "email:eve@evil.com"),
    ("eve [at] evil [dot] com", "email:eve@evil.com"),
    ("eve at evil dot com", "email:eve@evil.com"),
    ("ev\u200bil.zzz.com", "domain:evil.zzz.com"),
    ("evil\u2060.com", "domain:evil.com"),
    ("evil\u3002com", "domain:evil.com"),
    ("evil&#46;com", "domain:evil.com"),
    ("evil&period;com", "domain:evil.com"),
    ("eve&commat;evil.com", "email:eve@evil.com"),
    ("evil%2Ecom", "domain:evil.com"),
    ("eve%40evil.com", "email:eve@evil.com"),
    ("eve%2540evil.com", "email:eve@evil.com"),
    ("eve\uff20evil.com", "email:eve@evil.com"),
    ("ZXZlQGV2aWwuY29tIHBsZWFzZQ==", "email:eve@evil.com"),
    ("65766540657669 6c2e636f6d".replace(" ", "") + "20706c65617365", "email:eve@evil.com"),
    ("DE89\u200b3704\u200b0044\u200b0532\u200b0130\u200b00", f"iban:{IBAN}"),
    ("\uff24\uff25\uff18\uff19370400440532013000", f"iban:{IBAN}"),
]


@pytest.mark.parametrize(("text", "found"), PLAIN, ids=range(len(PLAIN)))
def test_what_is_plain_to_see(text: str, found: list[str]) -> None:
    assert [address.keys[0] for address in scan(text)] == found
    assert not any(address.disguised for address in scan(text))
    for address in scan(text):
        assert text[address.start : address.end] == address.text


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_address(text: str) -> None:
    assert scan(text) == ()


@pytest.mark.parametrize(("text", "key"), HIDDEN, ids=[repr(text) for text, _ in HIDDEN])
def test_what_hides_is_found(text: str, key: str) -> None:
    assert [address.keys[0] for address in scan(f"Look: {text} !") if address.disguised] == [key]


@pytest.mark.parametrize(("text", "key"), HIDDEN, ids=[repr(text) for text, _ in HIDDEN])
def test_what_hides_is_never_grounded(text: str, key: str) -> None:
    """Not even where the same value would be, if it were written plainly."""
    value = key.partition(":")[2]
    held = world(f"Update it with {value}", observation({"value": value}))
    assert objections({"text": f"Look: {value} !"}, held) == []
    found = objections({"text": f"Look: {text} !"}, held)
    assert any("hidden in the text" in finding.message for finding in found)
    assert {finding.pointer for finding in found} == {"/args/text"}


@pytest.mark.parametrize(
    "text",
    [
        "evil\u200bgood.example",
        "evil(at)good.example", "evil&#64;good.example", "evil[.]good.example", "good.example[.]evil.com",
        "https://good.example[.]evil.com", "https://good.example%2eevil.com", "good.example\u200b.evil.com",
        "good.example.evil.com",
        "https://good.example@evil.com", "https://evil.com\\@good.example", "https://evil.com#good.example",
        "xgood.example",
        "bob@good.example", "good.example/../evil", "//good.example:8080",
    ],
)  # fmt: skip
def test_nothing_hides_beside_what_is_grounded(text: str) -> None:
    held = world("Update it with good.example")
    assert objections({"text": "See good.example or https://good.example/."}, held) == []
    assert [finding.pointer for finding in objections({"text": text}, held)] != []


@pytest.mark.parametrize("text", [text for text, _ in PLAIN])
def test_every_address_in_a_text_needs_a_source(text: str) -> None:
    assert len(objections({"text": text}, world("Update it"))) == len(scan(text))
    assert objections({"text": text}, world(f"Update it: {text}")) == []
    assert objections({"text": text}, world("Update it", observation({"note": f"Known: {text}"}))) == []
    assert len(objections({"text": text}, world("Update it", observation({"note": text}, "untrusted")))) == len(
        scan(text)
    )


def test_our_own_people_may_be_named_in_a_text() -> None:
    from tests.unit.gate.world import spec

    held = world("Update it", access=spec(insiders=["@acme.example", "amy@other.example"]))
    assert objections({"text": "Ask bob@acme.example or amy@other.example, see www.acme.example"}, held) == []
    assert len(objections({"text": "Ask eve@other.example, x.acme.example, https://acme.example/a"}, held)) == 3
    assert len(objections({"to": "bob@acme.example"}, held)) == 1


@pytest.mark.parametrize("args", [{"memo": "x"}, {"deep": {"er": [{"memo": "x"}]}}, {"text": ["a", "x"]}, {"x": 1}])
def test_what_the_contract_does_not_know_is_looked_through(args: Any) -> None:
    def filled(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {(name if key == "x" else key): filled(item, name) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item, name) for item in value]
        return name if value == "x" else value

    held = world("Update it, one or two")
    assert objections(filled(args, "hello"), held) == []
    assert len(objections(filled(args, "eve@evil.com"), held)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a", "a.", "@", "a@", "DE89", "1 ", "+1 ", "%41", "http://", "a at b dot ", "A", "0x1-", "((", " ", "account ",
        "&amp;", "DE89 3704 0044 0532 0130 01 ", "QUJDREVGR0hJSktM ", "[.]", "x.com ", "a@b.co ", "\u0430.a",
        "<at>", "4111 ",
    ],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    hostile = (text * MAX_TEXT)[:MAX_TEXT]
    started = time.thread_time()
    scan(hostile)
    assert time.thread_time() - started < 3  # 0.1 s where nothing else runs


@pytest.mark.parametrize("filler", ["a@b.co ", "x@", "DE89 3704 0044 0532 0130 01 ", "see www.x.co "])
def test_no_crowd_hides_an_address(filler: str) -> None:
    held = world(f"Update it: {filler} www.x.co b.co a@b.co x.co")
    crowd = (filler * 3_000)[:60_000]
    assert objections({"text": f"{crowd} eve@evil.com"}, held) != []
    assert len(scan(crowd)) <= MAX_FOUND + 1


def test_what_is_longer_than_is_looked_at_is_not_grounded() -> None:
    held = world("Update it")
    assert objections({"text": "a " * 30_000}, held) == []
    assert len(objections({"text": "a " * 33_000}, held)) == 1
    assert "more than 65,536 characters" in objections({"text": "a " * 33_000}, held)[0].message


@pytest.mark.parametrize(
    ("args", "keys"),
    [
        ({"to": "bob@acme.example"}, ["email:bob@acme.example", "domain:acme.example", "name:bob@acme.example"]),
        (
            {"text": "Pay Acme at bob@acme.example."},
            ["email:bob@acme.example", "domain:acme.example", "name:pay acme at bob@acme.example."],
        ),
        ({"text": f"Pay {IBAN}. " * 20}, [f"account:iban:{IBAN}"]),
        (
            {"link": "https://www.acme.example/a"},
            ["domain:www.acme.example", "domain:acme.example", "name:https://www.acme.example/a"],
        ),
        ({"a": "021000021/123456"}, ["account:us:021000021/123456"]),
        (
            {"routing": "021000021", "account": "123456"},
            ["account:us:021000021/123456", "account:other:021000021/123456"],
        ),
        ({"text": "evil[.]com"}, ["domain:evil.com", "name:evil[.]com"]),
        ({"n": 5, "b": True, "x": None, "l": []}, []),
    ],
)
def test_the_directory_is_asked_for_what_stands_in_the_arguments(args: Any, keys: list[str]) -> None:
    assert keys_of(args) == keys


def test_keys_are_bounded_and_accounts_come_first() -> None:
    args = {f"n{n}": f"Name {n}" for n in range(500)} | {"text": f"to {IBAN}"}
    assert len(keys_of(args)) == MAX_KEYS
    assert keys_of(args)[0] == f"account:iban:{IBAN}"


def test_the_keys_of_a_value_are_those_of_the_directory() -> None:
    assert keys_of_value("Bob <bob@acme.example>")[:2] == ["email:bob@acme.example", "domain:acme.example"]
    assert keys_of_value(5) == keys_of_value("") == keys_of_value("x" * 400) == []
    assert keys_in_text("nothing here") == []
