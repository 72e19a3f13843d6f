"""Model providers as the API takes and shows them. A key goes in and never comes out."""

import ipaddress
import re
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints

from api.gate.models import Currency, Environment, Reason, Slug, Strict

_NAMES_AT_HOME = re.compile(r"(.*\.)?(localhost|local|internal|intranet|lan|home\.arpa|in-addr\.arpa)\.?", re.I)


def _public(url: str) -> str:
    """Refuses an address that names a private host; what a name resolves to is looked at before every call."""
    parts = urlsplit(url)
    host, _ = parts.hostname or "", parts.port  # a ValueError says that there is no such port
    try:
        private = not ipaddress.ip_address(host).is_global
    except ValueError:
        private = "." not in host or _NAMES_AT_HOME.fullmatch(host) is not None or host.replace(".", "").isdecimal()
    if private:
        raise ValueError("the address is private; a provider is reached at a public name")
    return url.rstrip("/")


def _sendable(key: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", key.get_secret_value()):
        raise ValueError("a key is printable ASCII without spaces")
    return key


#: Where the provider's interface begins: `https://api.anthropic.com/v1`, `https://api.openai.com/v1`.
BaseUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$", max_length=300),
    AfterValidator(_public),
]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")]
ApiKey = Annotated[SecretStr, Field(min_length=8, max_length=500), AfterValidator(_sendable)]


class Price(Strict):
    """Millionths of a unit of the currency for a million tokens: 3000000 is 3.00 for a million tokens."""

    input_price: int = Field(ge=0, le=10**12)
    output_price: int = Field(ge=0, le=10**12)


class Declares(Strict):
    """What the provider promises of the data that it is sent, and where that is written: a text or an address.

    trains_on_data: whoever trains on it is refused. retention_days: 0 is none, which regulated data asks for.
    """

    trains_on_data: bool
    retention_days: int = Field(ge=0, le=3650)
    basis: Reason


class NewModelProvider(Strict):
    """A provider to be registered; `kind` is the interface that it speaks.

    models: which may be used, and what they cost. region: where the data is processed, as the contract says.
    """

    name: Slug
    kind: Literal["anthropic", "openai"]
    environment: Environment
    base_url: BaseUrl
    region: str | None = Field(default=None, min_length=1, max_length=100)
    currency: Currency
    models: dict[ModelName, Price] = Field(min_length=1, max_length=50)
    declares: Declares
    api_key: ApiKey


class ModelProviderChange(Strict):
    """What changes of a provider. A new `api_key` takes the old one's place at once; a new `base_url` needs one."""

    base_url: BaseUrl | None = None
    region: str | None = Field(default=None, min_length=1, max_length=100)
    currency: Currency | None = None
    models: dict[ModelName, Price] | None = Field(default=None, min_length=1, max_length=50)
    declares: Declares | None = None
    api_key: ApiKey | None = None


class ModelProvider(BaseModel):
    """A provider without its key; `key_generation` counts the keys that it has had."""

    id: UUID
    name: str
    kind: Literal["anthropic", "openai"]
    environment: Environment
    base_url: str
    region: str | None
    currency: str
    models: dict[str, Price]
    declares: Declares
    status: Literal["active", "revoked"]
    key_generation: int
    created_by: UUID
    created_at: datetime
    updated_at: datetime
