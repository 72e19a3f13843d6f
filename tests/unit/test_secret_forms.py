"""The search for secrets finds one that was planted, however it is written down."""

import base64
import json
import secrets
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from tests.http.secret_forms import forms, found

TEXTS = {
    "token": "sat_k3yT-oken_" + "Zq9xV" * 6,
    "key": "cs_sandbox_0193_" + "aB3-x" * 9,
    "hex": "0f1e2d3c4b5a69788796a5b4c3d2e1f0" * 2,
    "odd": "pass:w%rd&+ /=?",
}
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda s: s,
    "in JSON": lambda s: json.dumps({"error": f"no: {s.decode()}"}).encode(),
    "basic authentication": lambda s: b"Basic " + base64.b64encode(b"client:" + s),
    "of an address": lambda s: b"GET /cb?code=" + quote(s, safe="").encode(),
    "of a form": lambda s: b"token=" + quote_plus(s).encode(),
    "a bytea": lambda s: b"'\\x" + s.hex().encode() + b"'",
    "upper-case hex": lambda s: s.hex().upper().encode(),
    "URL-safe Base64": lambda s: base64.urlsafe_b64encode(b"?" + s).rstrip(b"="),
    "lower case": lambda s: s.lower(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", TEXTS)
def test_a_planted_secret_is_found(name: str, way: str) -> None:
    around = secrets.token_bytes(500).hex().encode()
    planted = around + b" " + WAYS[way](TEXTS[name].encode()) + b" " + around
    assert found(TEXTS, planted), way
    assert {leak.split(" ")[0] for leak in found(TEXTS, planted)} == {name}
    assert found(TEXTS, around) == []


@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("name", TEXTS)
def test_base64_is_seen_through_wherever_the_secret_begins(name: str, before: int, after: int) -> None:
    text = b"x" * before + TEXTS[name].encode() + b"y" * after
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert found({name: TEXTS[name]}, encode(text)), (before, after)


@pytest.mark.parametrize("before", range(3))
def test_the_bytes_of_a_key_are_found_too(before: int) -> None:
    raw = bytes.fromhex(TEXTS["hex"])
    for planted in (raw, base64.b64encode(b"k" * before + raw + b"z"), repr({"kek": raw}).encode()):
        assert found({"hex": TEXTS["hex"]}, planted)


def test_half_of_a_secret_is_enough() -> None:
    text = TEXTS["token"]
    assert found({"token": text}, f"refused {text[: len(text) // 2]}...".encode())
    assert found({"token": text}, f"...{text[len(text) // 2 :]}".encode())


def test_what_everybody_has_is_no_secret() -> None:
    jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0." + "s" * 60
    assert found({"a session": jwt}, jwt[:40].encode()) == []
    assert found({"key": TEXTS["key"]}, b"cs_sandbox_0193_") == []
    assert min(len(form) for form in forms(TEXTS["odd"]).values()) >= 12
