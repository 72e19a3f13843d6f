"""The issuer's keys: one announced a moment ago is found, and made-up ids neither cost much nor lock anybody out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from api.auth import _KeySet
from api.errors import Problem
from tests.unit.tenants.conftest import Elsewhere, answer

JWKS = "/auth/v1/.well-known/jwks.json"
PUBLIC = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)


def published(*names: str) -> bytes:
    keys = [{**PUBLIC, "kid": name, "alg": "ES256", "use": "sig"} for name in names]
    return answer(200, json.dumps({"keys": keys}).encode())


async def missing(keys: _KeySet, name: str) -> None:
    with pytest.raises(Problem) as refused:
        await keys.find(name)
    assert (refused.value.status_code, refused.value.code) == (401, "invalid_token")


Story = Callable[[_KeySet], Awaitable[None]]


def told(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, story: Story, **limits: Any) -> None:
    async def tell() -> None:
        keys = _KeySet()
        async with elsewhere.running(monkeypatch):
            await story(keys)

    for name, value in ({"pause": 0.2} | limits).items():
        monkeypatch.setattr(_KeySet, name, value)
    asyncio.run(tell())


def test_a_key_announced_after_the_last_fetch_is_found(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(keys: _KeySet) -> None:
        elsewhere.says = {JWKS: published("old")}
        await keys.find("old")
        elsewhere.says = {JWKS: published("new", "old")}
        began = time.monotonic()
        await keys.find("new")
        assert time.monotonic() - began < 15  # a pause, and not the floor, which is twice that
        await keys.find("old")
        assert len(elsewhere.asked) == 2

    told(elsewhere, monkeypatch, story)


def test_whoever_makes_ids_up_keeps_nobody_out(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is announced in the middle of a flood of ids that nobody published."""

    async def story(keys: _KeySet) -> None:
        elsewhere.says = {JWKS: published("old")}
        flood = [asyncio.ensure_future(missing(keys, f"made up {n}")) for n in range(200)]
        await keys.find("old")
        elsewhere.says = {JWKS: published("new", "old")}
        flood += [asyncio.ensure_future(missing(keys, f"made up too {n}")) for n in range(200)]
        await keys.find("new")
        await asyncio.gather(*flood)
        assert len(elsewhere.asked) <= 3

    told(elsewhere, monkeypatch, story)


def test_fetches_keep_their_distance(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(keys: _KeySet) -> None:
        elsewhere.says = {JWKS: published("old")}
        began = time.monotonic()
        for n in range(5):
            await missing(keys, f"made up {n}")
        assert len(elsewhere.asked) == 5
        assert time.monotonic() - began >= 4 * 0.2

    told(elsewhere, monkeypatch, story)


def test_an_id_that_was_missing_is_not_looked_up_again_for_a_while(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(keys: _KeySet) -> None:
        elsewhere.says = {JWKS: published("old")}
        for _ in range(20):
            await missing(keys, "made up")
        assert len(elsewhere.asked) == 1
        elsewhere.says = {JWKS: published("old", "made up")}
        await asyncio.sleep(0.7)
        await keys.find("made up")

    told(elsewhere, monkeypatch, story, floor=0.5)


def test_what_is_remembered_of_missing_ids_is_bounded(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(keys: _KeySet) -> None:
        elsewhere.says = {JWKS: published("old")}
        await asyncio.gather(*(missing(keys, f"made up {n}") for n in range(50)))
        assert len(keys._missing) == 10

    told(elsewhere, monkeypatch, story, remembered=10)


def test_an_outage_lasts_no_longer_than_it_lasts(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(keys: _KeySet) -> None:
        elsewhere.says = {JWKS: answer(500, b"")}
        with pytest.raises(Problem) as refused:
            await keys.find("old")
        assert refused.value.code == "identity_unavailable"
        elsewhere.says = {JWKS: published("old")}
        await keys.find("old")

    told(elsewhere, monkeypatch, story, pause=60.0)
