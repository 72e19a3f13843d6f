"""Settings, read from the environment once per process.

Every setting has one name, listed in docs/deploy.md. Nothing is read while a module is imported, so that
the application can be imported without any of them.
"""

import os
from dataclasses import dataclass, field
from functools import lru_cache


class ConfigurationError(RuntimeError):
    """A setting is missing or malformed; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one deployment needs to know.

    database_url: login `countersign_api`, through a transaction-mode pooler or directly.
    supabase_url: origin of Supabase Auth, which issues the tokens of people.
    public_url: where browsers reach this deployment; OAuth providers return to it.
    kek: key-encryption keys by id, 32 bytes each; the first one seals, every one opens.
    cron_secret: what the scheduler sends as a bearer token.
    pool_size: database connections per process.
    provider_timeout: seconds that one call to a provider may take.
    lease_seconds: how long an attempt belongs to the function that claimed it; longer than the timeout.
    signing_keys: Ed25519 seeds, 32 bytes each; the first signs permits, all are published. Empty: no permits here.
    permit_seconds: how long a permit may be acted on.
    service_key: the secret key of Supabase Auth, which mails invitations and looks people up; '' when there is none.
    anon_key: the publishable key of Supabase Auth, with which people sign in to the dashboard; '' when there is none.
    smtp_url, mail_from: the server that mails alerts, and from whom they are; '' when this deployment does not mail.
    """

    database_url: str
    supabase_url: str
    public_url: str
    kek: dict[str, bytes] = field(repr=False)
    cron_secret: str = field(repr=False)
    pool_size: int
    provider_timeout: float
    lease_seconds: int
    signing_keys: tuple[bytes, ...] = field(repr=False)
    permit_seconds: int
    service_key: str = field(repr=False)
    anon_key: str
    smtp_url: str = field(default="", repr=False)
    mail_from: str = ""

    @property
    def auth_issuer(self) -> str:
        return f"{self.supabase_url}/auth/v1"


def _required(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigurationError(f"The setting {name} is missing; docs/deploy.md lists every setting.")
    return value


def _number(name: str, default: float) -> float:
    try:
        return float(os.environ.get(name) or default)
    except ValueError:
        raise ConfigurationError(f"{name} must be a number.") from None


def _keys(name: str) -> dict[str, bytes]:
    """Reads `id:64 hex digits`, several separated by commas."""
    keys: dict[str, bytes] = {}
    for part in _required(name).split(","):
        key_id, _, value = part.strip().partition(":")
        try:
            key = bytes.fromhex(value)
        except ValueError:
            key = b""
        if not key_id or len(key) != 32:
            raise ConfigurationError(f"{name} must read id:64-hex-digits, several separated by commas.")
        keys[key_id] = key
    return keys


def _signing_keys(name: str) -> tuple[bytes, ...]:
    """Reads 64 hex digits, several separated by commas; none when the setting is missing."""
    keys = []
    for part in filter(None, os.environ.get(name, "").strip().split(",")):
        try:
            key = bytes.fromhex(part.strip())
        except ValueError:
            key = b""
        if len(key) != 32:
            raise ConfigurationError(f"{name} must read 64 hex digits, several separated by commas.")
        keys.append(key)
    return tuple(keys)


def _permit_seconds(name: str) -> int:
    seconds = int(_number(name, 300))
    if not 30 <= seconds <= 900:
        raise ConfigurationError(f"{name} must be from 30 to 900.")
    return seconds


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process.

    Raises ConfigurationError naming the first setting that is missing or malformed.
    """
    return Settings(
        database_url=_required("DATABASE_URL"),
        supabase_url=_required("SUPABASE_URL").rstrip("/"),
        public_url=_required("COUNTERSIGN_PUBLIC_URL").rstrip("/"),
        kek=_keys("COUNTERSIGN_KEK"),
        cron_secret=_required("CRON_SECRET"),
        pool_size=int(_number("COUNTERSIGN_POOL_SIZE", 8)),
        provider_timeout=_number("COUNTERSIGN_PROVIDER_TIMEOUT", 20),
        lease_seconds=int(_number("COUNTERSIGN_LEASE_SECONDS", 60)),
        signing_keys=_signing_keys("COUNTERSIGN_SIGNING_KEYS"),
        permit_seconds=_permit_seconds("COUNTERSIGN_PERMIT_SECONDS"),
        # Asked for where people are invited and join, and nowhere else.
        service_key=os.environ.get("SUPABASE_SERVICE_KEY", "").strip(),
        # Asked for where people sign in to the dashboard, and nowhere else.
        anon_key=os.environ.get("SUPABASE_ANON_KEY", "").strip(),
        # Asked for where alerts are mailed, and nowhere else.
        smtp_url=os.environ.get("SMTP_URL", "").strip(),
        mail_from=os.environ.get("MAIL_FROM", "").strip(),
    )
