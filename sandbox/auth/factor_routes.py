"""TOTP factors: enrol, challenge, verify, unenrol."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends
from psycopg import Connection
from pydantic import BaseModel

from . import sessions, users
from .errors import AuthError
from .qr import svg
from .records import Factor, Session, User
from .service import From, Me, Service, now, parse_id, require_api_key
from .totp import matching_step, new_secret, provisioning_uri

router = APIRouter(prefix="/factors", dependencies=[Depends(require_api_key)])

_CHALLENGE_LIFETIME = timedelta(seconds=300)
_FACTOR_LIFETIME = timedelta(minutes=5)  # of one that was never verified
_MAX_FACTORS = 10


class Enrolment(BaseModel):
    """The body of `POST /factors`."""

    factor_type: str = ""
    friendly_name: str | None = None
    issuer: str | None = None


class Answer(BaseModel):
    """The body of `POST /factors/{id}/verify`."""

    challenge_id: UUID
    code: str = ""


def _own_factor(conn: Connection, user: User, factor_id: str) -> Factor:
    wanted = parse_id(factor_id, "factor_id")
    for factor in users.factors_of(conn, user.id):
        if factor.id == wanted:
            return factor
    raise AuthError(404, "mfa_factor_not_found", "Factor not found")


def _check_room(conn: Connection, user: User, session: Session, name: str, moment: datetime) -> None:
    conn.execute(
        "delete from auth.mfa_factors where user_id = %s and status = 'unverified' and created_at < %s"
        " and not exists (select from auth.mfa_challenges c where c.factor_id = mfa_factors.id"
        " and c.created_at > %s)",
        (user.id, moment - _FACTOR_LIFETIME, moment - _CHALLENGE_LIFETIME),
    )
    factors = users.factors_of(conn, user.id)
    if name and any(factor.friendly_name == name for factor in factors):
        message = f'A factor with the friendly name "{name}" for this user already exists'
        raise AuthError(422, "mfa_factor_name_conflict", message)
    if len(factors) >= _MAX_FACTORS:
        message = "Maximum number of verified factors reached, unenroll to continue"
        raise AuthError(422, "too_many_enrolled_mfa_factors", message)
    if session.aal != "aal2" and any(factor.is_verified for factor in factors):
        raise AuthError(403, "insufficient_aal", "AAL2 required to enroll a new factor")


@router.post("")
def enroll(body: Enrolment, auth: Service, me: Me) -> dict[str, Any]:
    """A new, unverified TOTP factor. Its secret is shown here and never again."""
    if body.factor_type in {"phone", "webauthn"}:
        code = f"mfa_{body.factor_type}_enroll_not_enabled"
        raise AuthError(422, code, f"MFA enroll is disabled for {body.factor_type}")
    if body.factor_type != "totp":
        raise AuthError(400, "validation_failed", "factor_type needs to be totp, phone, or webauthn")
    moment, factor_id, secret, name = now(), uuid.uuid4(), new_secret(), body.friendly_name or ""
    with auth.transaction() as conn:
        user, session = me.load(conn)
        _check_room(conn, user, session, name, moment)
        conn.execute(
            "insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, secret,"
            " created_at, updated_at) values (%s, %s, %s, 'totp', 'unverified', %s, %s, %s)",
            (factor_id, user.id, name, secret, moment, moment),
        )
        # A colon would end the issuer in an authenticator's label, so the site's port stays out of it.
        issuer = body.issuer or urlsplit(auth.site_url).hostname or "localhost"
        uri = provisioning_uri(secret, user.email or str(user.id), issuer)
        try:
            qr_code = svg(uri)
        except ValueError:
            raise AuthError(400, "validation_failed", "issuer is too long for a QR code") from None
    totp = {"qr_code": qr_code, "secret": secret, "uri": uri}
    return {"id": str(factor_id), "type": "totp", "friendly_name": name, "totp": totp}


@router.post("/{factor_id}/challenge")
def challenge(factor_id: str, auth: Service, me: Me, caller: From) -> dict[str, Any]:
    """Opens a challenge that can be answered for five minutes, from the same address."""
    moment, challenge_id = now(), uuid.uuid4()
    with auth.transaction() as conn:
        user, _ = me.load(conn)
        factor = _own_factor(conn, user, factor_id)
        conn.execute(
            "insert into auth.mfa_challenges (id, factor_id, created_at, ip_address) values (%s, %s, %s, %s)",
            (challenge_id, factor.id, moment, caller.ip),
        )
        conn.execute("update auth.mfa_factors set last_challenged_at = %s where id = %s", (moment, factor.id))
    expires_at = int((moment + _CHALLENGE_LIFETIME).timestamp())
    return {"id": str(challenge_id), "type": "totp", "expires_at": expires_at}


def _check_challenge(conn: Connection, factor: Factor, challenge_id: UUID, ip: str, moment: datetime) -> None:
    row = conn.execute(
        "select created_at, verified_at, host(ip_address) from auth.mfa_challenges where id = %s and factor_id = %s",
        (challenge_id, factor.id),
    ).fetchone()
    if row is None:
        message = "MFA factor with the provided challenge ID not found"
        raise AuthError(422, "mfa_factor_not_found", message)
    created_at, verified_at, address = row
    if verified_at is not None or address != ip:
        message = "Challenge and verify IP addresses mismatch."
        raise AuthError(422, "mfa_ip_address_mismatch", message)
    if moment > created_at + _CHALLENGE_LIFETIME:
        advice = "verify against another challenge or create a new challenge."
        message = f"MFA challenge {challenge_id} has expired, {advice}"
        raise AuthError(422, "mfa_challenge_expired", message)


def _use_code(conn: Connection, factor: Factor, code: str, moment: datetime) -> None:
    # RFC 6238 section 5.2: a code that was accepted once is refused from then on, and so is any earlier one.
    step = matching_step(factor.secret or "", code, moment)
    used = step is not None and conn.execute(
        "insert into auth.sandbox_totp_steps as known (factor_id, last_step) values (%s, %s)"
        " on conflict (factor_id) do update set last_step = excluded.last_step"
        " where known.last_step < excluded.last_step",
        (factor.id, step),
    ).rowcount == 1  # fmt: skip
    if not used:
        raise AuthError(422, "mfa_verification_failed", "Invalid TOTP code entered")


@router.post("/{factor_id}/verify")
def verify(factor_id: str, body: Answer, auth: Service, me: Me, caller: From) -> dict[str, Any]:
    """Answers a challenge; the session becomes `aal2` and gets new tokens.

    The factor becomes verified, the user's other unverified ones go, and so do the user's other sessions
    that have not answered a second factor. Real Supabase Auth takes the same code again within its
    window; here it is good once.
    """
    if not body.code:
        raise AuthError(400, "validation_failed", "Code needs to be non-empty")
    moment = now()
    with auth.transaction() as conn:
        user, session = me.load(conn)
        factor = _own_factor(conn, user, factor_id)
        _check_challenge(conn, factor, body.challenge_id, caller.ip, moment)
        _use_code(conn, factor, body.code, moment)
        conn.execute("update auth.mfa_challenges set verified_at = %s where id = %s", (moment, body.challenge_id))
        conn.execute(
            "update auth.mfa_factors set status = 'verified', updated_at = %s where id = %s and status <> 'verified'",
            (moment, factor.id),
        )
        conn.execute("delete from auth.mfa_factors where user_id = %s and status = 'unverified'", (user.id,))
        raised = sessions.raise_to_aal2(conn, user, session, factor.id, moment)
        return auth.answer(conn, raised, moment)


@router.delete("/{factor_id}")
def unenroll(factor_id: str, auth: Service, me: Me) -> dict[str, str]:
    """Removes a factor; a verified one only from an `aal2` session. Sessions it raised fall to `aal1`."""
    with auth.transaction() as conn:
        user, session = me.load(conn)
        factor = _own_factor(conn, user, factor_id)
        if factor.is_verified and session.aal != "aal2":
            raise AuthError(422, "insufficient_aal", "AAL2 required to unenroll verified factor")
        sessions.lower_to_aal1(conn, factor.id)
        conn.execute("delete from auth.mfa_factors where id = %s", (factor.id,))
    return {"id": str(factor.id)}
