"""Supabase Auth that does not answer as it should: nobody is let in for it, and nobody waits for long."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest

from api.config import ConfigurationError, settings
from api.errors import Problem
from api.tenants import identities
from tests.unit.tenants.conftest import Elsewhere, answer

PERSON = "01a1f96e-0000-7000-8000-000000000001"
USER = {
    "id": PERSON, "aud": "authenticated", "app_metadata": {}, "user_metadata": {"email": "other@example.com"},
    "email": "Ada@Example.com", "email_confirmed_at": "2026-01-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
ADMIN = f"/auth/v1/admin/users/{PERSON}"


def of(user: dict[str, Any]) -> bytes:
    return answer(200, json.dumps(user).encode())


def refusal(status: int, code: str) -> bytes:
    return answer(status, json.dumps({"code": status, "error_code": code, "msg": "no"}).encode())


async def _verified(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> str:
    async with elsewhere.running(monkeypatch):
        return await identities.verified_email(PERSON)


def test_the_address_is_the_one_that_was_confirmed(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere.says = {ADMIN: of(USER)}
    assert asyncio.run(_verified(elsewhere, monkeypatch)) == "ada@example.com"
    assert elsewhere.asked == [ADMIN]


@pytest.mark.parametrize(
    ("says", "status", "code"),
    [
        (of(USER | {"email_confirmed_at": None}), 403, "email_not_confirmed"),
        (of(USER | {"email": ""}), 403, "email_not_confirmed"),
        (of(USER | {"email": "\u212aim@example.com"}), 403, "email_not_confirmed"),
        (of(USER | {"is_anonymous": True}), 403, "email_not_confirmed"),
        (of(USER | {"deleted_at": "2026-01-01T00:00:00Z"}), 403, "email_not_confirmed"),
        (refusal(404, "user_not_found"), 403, "unknown_person"),
        (refusal(403, "not_admin"), 503, "identity_unavailable"),
        (refusal(500, "unexpected_failure"), 503, "identity_unavailable"),
        (answer(502, b"<html>Bad gateway</html>", "text/html"), 503, "identity_unavailable"),
        (answer(500, b"<html>oh</html>", "text/html"), 503, "identity_unavailable"),
        (answer(200, b"<html>a proxy</html>", "text/html"), 503, "identity_unavailable"),
        (answer(200, b"{}"), 503, "identity_unavailable"),
        (answer(200, b"[]"), 503, "identity_unavailable"),
        (b"nonsense\r\n\r\n", 503, "identity_unavailable"),
    ],
)
def test_who_is_not_known_for_sure_has_no_address(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, says: bytes, status: int, code: str
) -> None:
    elsewhere.says = {ADMIN: says}
    with pytest.raises(Problem) as refused:
        asyncio.run(_verified(elsewhere, monkeypatch))
    assert (refused.value.status_code, refused.value.code) == (status, code)


def test_silence_is_waited_for_only_so_long(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "TIMEOUT", 0.3)
    elsewhere.hangs, elsewhere.says = True, {"/": b""}
    began = time.monotonic()
    with pytest.raises(Problem) as refused:
        asyncio.run(_verified(elsewhere, monkeypatch))
    assert refused.value.code == "identity_unavailable"

    async def invite() -> bool:
        async with elsewhere.running(monkeypatch):
            return await identities.send_invitation("ada@example.com")

    assert asyncio.run(invite()) is False
    assert time.monotonic() - began < 25  # what hangs does so for thirty seconds


@pytest.mark.parametrize(
    ("says", "sent", "asked"),
    [
        ({"/auth/v1/invite": of(USER)}, True, 1),
        ({"/auth/v1/invite": refusal(422, "email_exists"), "/auth/v1/otp": answer(200, b"{}")}, True, 2),
        ({"/auth/v1/invite": refusal(422, "email_exists"), "/auth/v1/otp": refusal(422, "otp_disabled")}, False, 2),
        ({"/auth/v1/invite": refusal(429, "over_email_send_rate_limit")}, False, 1),
        ({"/auth/v1/invite": answer(502, b"<html>", "text/html")}, False, 1),
        ({"/auth/v1/invite": answer(500, b"<html>", "text/html")}, False, 1),
        ({"/auth/v1/invite": answer(200, b"<html>", "text/html")}, False, 1),
    ],
)
def test_a_mail_went_out_or_it_did_not(
    elsewhere: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    says: dict[str, bytes],
    sent: bool,
    asked: int,
) -> None:
    elsewhere.says = says

    async def invite() -> bool:
        async with elsewhere.running(monkeypatch):
            return await identities.send_invitation("ada@example.com")

    with caplog.at_level(logging.INFO, "countersign"):
        assert asyncio.run(invite()) is sent
    assert len(elsewhere.asked) == asked
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("countersign")]
    assert bool(ours) is not sent
    assert "ada@example.com" not in "".join(ours)


def test_without_a_key_nothing_is_sent_and_nobody_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_KEY")
    settings.cache_clear()
    assert asyncio.run(identities.send_invitation("ada@example.com")) is False
    with pytest.raises(ConfigurationError, match="SUPABASE_SERVICE_KEY"):
        asyncio.run(identities.verified_email(PERSON))
