"""Providers and their tools, one TOML file each under `manifests/`. A new provider is one file and no code.

The format is documented in docs/providers.md. A file that does not fit it is refused at load, with the file,
the line and what is wrong.
"""

import json
import os
import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from api.config import ConfigurationError
from api.gate.models import Access, Argument, Contract, Effect, Execution, Output, Pointer, ReadBack, ToolName

FOLDER = Path(__file__).parent / "manifests"


class ManifestError(ValueError):
    """A manifest does not fit the format; the message begins with `file:line`."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scopes(_Part):
    """Scopes asked for: `read` for a read connection, `read` and `write` together for a write connection."""

    read: list[str]
    write: list[str] = []


class OAuth(_Part):
    """Endpoints and quirks of a provider's OAuth (RFC 6749). `{origin}` stands for the provider's base address.

    issuer: what the provider sends as `iss` with every authorization response (RFC 9207); None when it sends none.
    """

    authorize_url: str
    token_url: str
    revoke_url: str | None = None
    issuer: str | None = None
    client_authentication: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    default_expires_in: int = Field(default=3600, gt=0)
    refresh_rotates: bool = True
    scopes: Scopes


class Account(_Part):
    """Where the provider names the account that was authorised; pointers into the answer."""

    path: str
    id: Pointer
    label: Pointer


class Http(_Part):
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str = Field(pattern=r"^/")
    body: Literal["json", "none"] = "none"
    idempotency_header: str | None = None


class Tool(_Part):
    """One operation of a provider; becomes the contract `<provider>.<name>`."""

    name: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+){0,2}$")
    version: int = Field(ge=1)
    title: str
    access: Access
    effect: Effect
    reversible: bool
    idempotency: Literal["key", "natural", "none"]
    input_schema: str
    arguments: dict[Pointer, Argument] = {}
    output: Output = Output()
    http: Http
    read_back: ReadBack | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Tool":
        import jsonschema_rs

        if (self.access == "read") != (self.effect == "read"):
            raise ValueError("access and effect disagree: a tool that reads has effect read, and no other")
        if self.idempotency == "key" and self.access == "write" and not self.http.idempotency_header:
            raise ValueError("idempotency by key needs http.idempotency_header")
        try:
            schema = json.loads(self.input_schema)
        except json.JSONDecodeError as error:
            raise ValueError(f"input_schema is not JSON: {error}") from None
        jsonschema_rs.meta.validate(schema)
        if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
            raise ValueError("input_schema must describe an object with additionalProperties false")
        for name in re.findall(r"{(\w+)}", self.http.path):
            if name not in schema.get("required", []):
                raise ValueError(f"the path names {{{name}}}, which input_schema does not require")
        return self

    def contract(self, provider: str) -> Contract:
        """The contract that is published for this tool."""
        return Contract(
            name=f"{provider}.{self.name}",
            version=self.version,
            provider=provider,
            title=self.title,
            access=self.access,
            effect=self.effect,
            reversible=self.reversible,
            idempotency=self.idempotency,
            input_schema=json.loads(self.input_schema),
            arguments=self.arguments,
            output=self.output,
            execution=Execution(**self.http.model_dump()),
            read_back=self.read_back,
        )


class Manifest(_Part):
    """One provider. Its address is `origin`, or comes from the environment variable `origin_setting`."""

    name: ToolName | str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    kind: Literal["bank", "crm", "billing", "helpdesk", "outbound"]
    facts_checked: str
    origin: str | None = None
    origin_setting: str | None = None
    oauth: OAuth
    account: Account | None = None
    tools: list[Tool] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> "Manifest":
        if (self.origin is None) == (self.origin_setting is None):
            raise ValueError("give either origin or origin_setting")
        names = [tool.name for tool in self.tools]
        if len(set(names)) != len(names):
            raise ValueError("two tools have the same name")
        return self

    def base_url(self) -> str:
        """The provider's address; ConfigurationError when its setting is missing."""
        address = self.origin or os.environ.get(self.origin_setting or "", "")
        if not address:
            raise ConfigurationError(f"{self.title} is not configured: {self.origin_setting} is missing.")
        return address.rstrip("/")

    def url(self, template: str) -> str:
        return template.replace("{origin}", self.base_url())

    def client(self) -> tuple[str, str]:
        """Our client id and secret at this provider, from `<NAME>_CLIENT_ID` and `<NAME>_CLIENT_SECRET`."""
        prefix = self.name.upper()
        pair = os.environ.get(f"{prefix}_CLIENT_ID", ""), os.environ.get(f"{prefix}_CLIENT_SECRET", "")
        if not all(pair):
            raise ConfigurationError(
                f"{self.title} is not configured: {prefix}_CLIENT_ID and {prefix}_CLIENT_SECRET are missing."
            )
        return pair

    def scopes(self, access: Access) -> list[str]:
        asked = self.oauth.scopes
        return asked.read if access == "read" else [*asked.read, *asked.write]

    def contracts(self) -> list[Contract]:
        return [tool.contract(self.name) for tool in self.tools]


def _line_of(text: str, location: tuple[Any, ...]) -> int:
    """The line on which the part that an error names begins: the n-th [[tools]], then the key."""
    lines = text.splitlines()
    at = 0
    if len(location) > 1 and location[0] == "tools" and isinstance(location[1], int):
        headers = [i for i, line in enumerate(lines) if line.strip() == "[[tools]]"]
        at = headers[location[1]] if location[1] < len(headers) else 0
    for key in reversed([str(part) for part in location if isinstance(part, str)]):
        for i, line in enumerate(lines[at:], at):
            if re.match(rf'\s*(\[+[\w.]*\b{re.escape(key)}\]+|"?{re.escape(key)}"?\s*=)', line):
                return i + 1
    return at + 1


def load(path: Path) -> Manifest:
    """Reads one manifest.

    Raises ManifestError with file, line and reason.
    """
    text = path.read_text(encoding="utf-8")
    try:
        manifest = Manifest.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise ManifestError(f"{path.name}:{line[1] if line else 1}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestError(
            f"{path.name}:{_line_of(text, first['loc'])}: {where or 'manifest'}: {first['msg']}"
        ) from None
    if path.stem != manifest.name:
        raise ManifestError(f"{path.name}:1: name: the file must be called {manifest.name}.toml")
    return manifest


@lru_cache(maxsize=1)
def manifests() -> dict[str, Manifest]:
    """Every provider by name."""
    return {path.stem: load(path) for path in sorted(FOLDER.glob("*.toml"))}
