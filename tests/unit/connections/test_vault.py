"""Sealing: what is sealed opens in its place, under a key that is kept, unchanged; and nowhere else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

import pytest

from api.config import ConfigurationError, settings
from api.connections import vault

TENANT, CONNECTION = "01a1f96e-0000-7000-8000-000000000001", "01a1f96e-0000-7000-8000-000000000002"
HERE = vault.context(TENANT, CONNECTION, "sandbox", 3)
TOKENS = {"access_token": "sat_open-sesame", "refresh_token": "srt_Grüße", "none": None}
OLD, NEW = f"old:{'11' * 32}", f"new:{'22' * 32}"

Keys = Callable[[str], None]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    """Sets the key-encryption keys as a deployment does; OLD to begin with."""
    for name in ("DATABASE_URL", "SUPABASE_URL", "COUNTERSIGN_PUBLIC_URL", "CRON_SECRET"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    def use(value: str) -> None:
        monkeypatch.setenv("COUNTERSIGN_KEK", value)
        settings.cache_clear()

    use(OLD)
    yield use
    settings.cache_clear()


def test_what_is_sealed_opens_again() -> None:
    assert vault.unseal(vault.seal(TOKENS, HERE), HERE) == TOKENS


def test_an_envelope_shows_nothing_and_is_never_the_same_twice() -> None:
    first, second = vault.seal(TOKENS, HERE), vault.seal(TOKENS, HERE)
    for part in ("data", "key"):
        assert json.loads(first)[part] != json.loads(second)[part]
    raw = first.encode() + base64.b64decode(json.loads(first)["data"]) + base64.b64decode(json.loads(first)["key"])
    assert b"sesame" not in raw
    assert b"access_token" not in raw


@pytest.mark.parametrize(
    "elsewhere",
    [
        vault.context("01a1f96e-0000-7000-8000-000000000009", CONNECTION, "sandbox", 3),
        vault.context(TENANT, "01a1f96e-0000-7000-8000-000000000009", "sandbox", 3),
        vault.context(TENANT, CONNECTION, "production", 3),
        vault.context(TENANT, CONNECTION, "sandbox", 4),
        vault.context(TENANT, CONNECTION, "sandbox", "flow"),
        b"",
    ],
)
def test_an_envelope_that_was_moved_does_not_open(elsewhere: bytes) -> None:
    with pytest.raises(vault.SealError):
        vault.unseal(vault.seal(TOKENS, HERE), elsewhere)


def test_the_parts_of_two_envelopes_do_not_mix() -> None:
    one, other = (json.loads(vault.seal(TOKENS, HERE)) for _ in range(2))
    for mixed in (one | {"data": other["data"]}, one | {"key": other["key"]}, one | {"key": one["data"]}):
        with pytest.raises(vault.SealError):
            vault.unseal(json.dumps(mixed), HERE)


@pytest.mark.parametrize("part", ["key", "data"])
def test_a_changed_byte_anywhere_is_noticed(part: str) -> None:
    document = json.loads(vault.seal({"t": "x"}, HERE))
    sealed = bytearray(base64.b64decode(document[part]))
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        envelope = json.dumps(document | {part: base64.b64encode(bytes(changed)).decode()})
        with pytest.raises(vault.SealError):
            vault.unseal(envelope, HERE)


def test_a_new_key_seals_and_the_old_one_still_opens(keys: Keys) -> None:
    before = vault.seal(TOKENS, HERE)
    keys(f"{NEW},{OLD}")
    after = vault.seal(TOKENS, HERE)
    assert [json.loads(envelope)["kek"] for envelope in (before, after)] == ["old", "new"]
    assert vault.unseal(before, HERE) == vault.unseal(after, HERE) == TOKENS
    keys(NEW)
    assert vault.unseal(after, HERE) == TOKENS
    with pytest.raises(vault.SealError):
        vault.unseal(before, HERE)


def test_another_key_of_the_same_name_does_not_open(keys: Keys) -> None:
    envelope = vault.seal(TOKENS, HERE)
    keys(f"old:{'33' * 32}")
    with pytest.raises(vault.SealError):
        vault.unseal(envelope, HERE)


@pytest.mark.parametrize(
    "envelope",
    ["", "null", "[]", "1", '"x"', "{}", '{"v":1,"kek":"old"}', '{"v":1,"kek":"old","key":"","data":""}',
     '{"v":1,"kek":"old","key":"####","data":"####"}', '{"v":1,"kek":[],"key":"AAAA","data":"AAAA"}',
     '{"v":1,"kek":"old","key":7,"data":7}', "{" * 50],
)  # fmt: skip
def test_what_is_no_envelope_is_refused_without_a_word_of_it(envelope: str) -> None:
    with pytest.raises(vault.SealError) as refused:
        vault.unseal(envelope, HERE)
    assert str(refused.value) == "The sealed credential does not open here."
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("value", ["", "old", "old:zz", f"old:{'11' * 31}", f":{'11' * 32}", f"{OLD},new:12"])
def test_a_key_that_is_none_is_named_and_not_shown(keys: Keys, value: str) -> None:
    keys(value)
    with pytest.raises(ConfigurationError, match="COUNTERSIGN_KEK") as refused:
        vault.seal(TOKENS, HERE)
    assert "1111" not in str(refused.value)
