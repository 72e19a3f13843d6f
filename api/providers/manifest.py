"""Providers and their tools, one TOML file each under `manifests/`. A new provider is one file and no code.

The format is documented in docs/providers.md. A file that does not fit it is refused at load, with the file,
the line and what is wrong.
"""

import os
import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from api.config import ConfigurationError
from api.gate.models import Access, Contract, Environment, Pointer
from api.providers.checks import contradictions
from api.providers.parts import Account, Answers, Keep, Limit, Name, OAuth, Parameter, Part, Prefix
from api.providers.site import Site
from api.providers.toml_lines import Place, line_of
from api.providers.tool import Tool

FOLDER = Path(__file__).parent / "manifests"


class ManifestError(ValueError):
    """A manifest does not fit the format; the message begins with `file:line`."""


class ParameterError(ValueError):
    """What a person said before the sign-in does not fit; `errors` says by name what is wrong."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__(" ".join(errors.values()))


class Subject(Part):
    """What an event is about: what its id stands for, and where in the body the id is."""

    type: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    id: Pointer


class Webhook(Part):
    """How a provider signs the events that it sends, and where in the body an event's id, type and subject are.

    standard-webhooks: its headers are the scheme's own, and the id is in one of them unless event_id says otherwise.
    stripe: `Stripe-Signature`, t and v1. hmac-sha256: of the body in `header`, after `prefix`; with
    timestamp_header, of the seconds in it, a full stop and the body.
    """

    scheme: Literal["standard-webhooks", "stripe", "hmac-sha256"]
    header: str = Field(default="", pattern=r"^[a-z0-9-]*$", max_length=60)
    prefix: str = Field(default="", max_length=20)
    encoding: Literal["hex", "base64"] = "hex"
    timestamp_header: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$", max_length=60)
    event_id: Pointer | None = None
    event_type: Pointer
    subject: Subject | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "Webhook":
        own = self.scheme == "hmac-sha256"
        if own != bool(self.header) or (not own and (self.timestamp_header or self.prefix)):
            raise ValueError("header, prefix and timestamp_header are hmac-sha256's, which needs a header")
        if self.scheme != "standard-webhooks" and self.event_id is None:
            raise ValueError("only standard-webhooks name the event's id in a header; say where it is (event_id)")
        return self


class Manifest(Part):
    """One provider: `origins` are its addresses by environment and name, `$NAME` is read from that setting."""

    name: str = Field(pattern=r"^[a-z0-9_]+$", max_length=40)
    title: str
    kind: Literal["bank", "crm", "billing", "helpdesk", "outbound"]
    facts_checked: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}$")
    sources: list[str] = Field(default=[])
    unverified: list[str] = Field(default=[])
    origins: dict[Environment, dict[Name, str]] = Field(min_length=1)
    client: dict[Environment, Prefix] = Field(default={})
    parameters: dict[Name, Parameter] = Field(default={})
    oauth: OAuth
    account: Account | None = None
    answers: Answers = Answers()
    limits: list[Limit] = Field(default=[], max_length=8)
    webhook: Webhook | None = None
    tools: list[Tool] = Field(min_length=1)

    def site(self, environment: Environment, values: dict[str, str] | None = None) -> Site:
        """The provider as a connection of this environment sees it, with the values that the connection keeps.

        Raises ConfigurationError when the provider is not there, or not configured, in this environment, and for a
        value that no longer fits: a request that it went into could reach somebody else.
        """
        if environment not in self.origins:
            raise ConfigurationError(f"{self.title} has no {environment} environment.")
        patterns = {name: parameter.pattern for name, parameter in self.parameters.items()}
        patterns |= {name: keep.pattern_in(environment) for name, keep in self.kept.items()}
        known = {name: value for name, value in (values or {}).items() if name in patterns}
        for name, value in known.items():
            if not isinstance(value, str) or not re.fullmatch(patterns[name], value):
                raise ConfigurationError(f"The connection's {name} is none of {self.title}; connect it again.")
        site = Site(self, environment, known)
        for name, text in self.origins[environment].items():
            if text.startswith("$"):
                site.origin(name)
        return site

    def parameters_of(self, given: dict[str, str]) -> dict[str, str]:
        """What a person said before the sign-in, if it is what this provider asks for; ParameterError otherwise."""
        errors = {name: f"{self.title} asks for no {name}." for name in given if name not in self.parameters}
        for name, parameter in self.parameters.items():
            if not isinstance(given.get(name), str) or not re.fullmatch(parameter.pattern, given[name]):
                errors[name] = f"{parameter.title}: it must match {parameter.pattern}."
        if errors:
            raise ParameterError(errors)
        return dict(given)

    def answers_of(self, tool: str) -> Answers:
        """How the answers to a tool say that they are refusals."""
        own = next((known.answers for known in self.tools if f"{self.name}.{known.name}" == tool), None)
        return own or self.answers

    @property
    def origin_names(self) -> set[str]:
        return {name for origins in self.origins.values() for name in origins}

    @property
    def kept(self) -> dict[str, Keep]:
        return self.account.keep if self.account else {}

    def scopes(self, access: Access) -> list[str]:
        asked = self.oauth.scopes
        return asked.read if access == "read" else [*asked.read, *asked.write]

    def contracts(self) -> list[Contract]:
        return [tool.contract(self.name) for tool in self.tools]


def load(path: Path) -> Manifest:
    """Reads one manifest.

    Raises ManifestError with `file:line: where: what`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ManifestError(f"{path.name}:{line}: manifest: it is not UTF-8") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else max(1, len(text.splitlines()))
        raise ManifestError(f"{path.name}:{line}: manifest: {error}") from None
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise _mistake(path, text, first["loc"], first["msg"].removeprefix("Value error, ")) from None
    if path.stem != manifest.name:
        raise _mistake(path, text, ("name",), f"the file must be called {manifest.name}.toml")
    for place, message in contradictions(manifest):
        raise _mistake(path, text, place, message)
    return manifest


def _mistake(path: Path, text: str, place: Place, message: str) -> ManifestError:
    where = ".".join(str(part) for part in place) or "manifest"
    return ManifestError(f"{path.name}:{line_of(text, place)}: {where}: {message}")


def files() -> dict[str, Path]:
    """Where each provider is described: ours, and those in the folders that COUNTERSIGN_MANIFESTS names.

    Folders are separated as in PATH. Raises ConfigurationError for a folder that is not there, and for a provider
    that is described twice: whose credentials would go where must not depend on an order.
    """
    found: dict[str, Path] = {}
    own = os.environ.get("COUNTERSIGN_MANIFESTS", "").split(os.pathsep)
    for folder in (FOLDER, *(Path(part) for part in own if part)):
        if not folder.is_dir():
            raise ConfigurationError(f"COUNTERSIGN_MANIFESTS names {folder}, which is no folder.")
        for path in sorted(folder.glob("*.toml")):
            if path.stem in found:
                raise ConfigurationError(f"{path} describes {path.stem}, which {found[path.stem]} describes already.")
            found[path.stem] = path
    return found


@lru_cache(maxsize=64)
def manifest(name: str) -> Manifest | None:
    """One provider, read when it is first asked for; None when no file describes it."""
    path = files().get(name)
    return None if path is None else load(path)


@lru_cache(maxsize=1)
def contracts() -> dict[str, Contract]:
    """The contract of every tool of every provider, by the tool's name."""
    return {contract.name: contract for described in manifests().values() for contract in described.contracts()}


@lru_cache(maxsize=1)
def manifests() -> dict[str, Manifest]:
    """Every provider by name."""
    return {name: found for name in files() if (found := manifest(name)) is not None}
