"""Providers and their tools, one TOML file each under `manifests/`. A new provider is one file and no code.

The format is documented in docs/providers.md. A file that does not fit it is refused at load, with the file,
the line and what is wrong.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator

from api.config import ConfigurationError
from api.gate.models import Access, Argument, Contract, Effect, Environment, Output, Pointer, ReadBack
from api.providers.parts import Account, Answers, Keep, Name, OAuth, Parameter, Part, Prefix
from api.providers.site import Site
from api.providers.toml_lines import Place, line_of

FOLDER = Path(__file__).parent / "manifests"


class ManifestError(ValueError):
    """A manifest does not fit the format; the message begins with `file:line`."""


class ParameterError(ValueError):
    """What a person said before the sign-in does not fit; `errors` says by name what is wrong."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__(" ".join(errors.values()))


class Http(Part):
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str = Field(pattern=r"^(/([A-Za-z0-9._~:@-]|\{\w+\})+)+$")
    body: Literal["json", "none"] = "none"
    idempotency_header: str | None = None


# A contract that is read back passes over what it does not know; a manifest's typing errors must not pass.
class _Argument(Argument):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Output(Output):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _ReadBack(ReadBack):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tool(Part):
    """One operation of a provider; becomes the contract `<provider>.<name>`."""

    name: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+){0,2}$", max_length=79)
    version: int = Field(ge=1)
    title: str
    access: Access
    effect: Effect
    reversible: bool
    idempotency: Literal["key", "natural", "none"]
    input_schema: str
    arguments: dict[Pointer, _Argument] = Field(default={})
    output: _Output = _Output()
    http: Http
    read_back: _ReadBack | None = None

    @field_validator("input_schema")
    @classmethod
    def _describes_an_object(cls, text: str) -> str:
        import jsonschema_rs

        try:
            schema = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"it is not JSON: {error}") from None
        try:
            jsonschema_rs.Draft202012Validator(text, validate_formats=True, offline=True)
        except jsonschema_rs.ValidationError as error:
            raise ValueError(f"it is not a JSON Schema: {error.message}") from None
        if (
            not isinstance(schema, dict)
            or schema.get("type") != "object"
            or schema.get("additionalProperties") is not False
        ):
            raise ValueError("it must describe an object with additionalProperties false")
        return text

    @property
    def schema_of_arguments(self) -> dict[str, Any]:
        schema: dict[str, Any] = json.loads(self.input_schema)
        return schema

    def contradictions(self) -> Iterator[tuple[Place, str]]:
        """Parts that fit the format and not each other, with their place in the tool."""
        schema = self.schema_of_arguments
        if (self.access == "read") != (self.effect == "read"):
            yield ("effect",), "access and effect disagree: a tool that reads has effect read, and no other"
        if self.idempotency == "key" and self.access == "write" and not self.http.idempotency_header:
            yield ("idempotency",), "idempotency by key needs http.idempotency_header"
        for name in re.findall(r"{(\w+)}", self.http.path):
            if name not in schema.get("required", []):
                yield ("http", "path"), f"the path names {{{name}}}, which input_schema does not require"
        for pointer, argument in self.arguments.items():
            # A misspelt pointer would take its argument out of every check that looks at roles.
            for named in filter(None, (pointer, argument.currency)):
                if not _exists(schema, named):
                    yield ("arguments", pointer), f"input_schema has no argument {named}"

    def contract(self, provider: str) -> Contract:
        """The contract that is published for this tool."""
        document = self.model_dump(exclude={"name", "http", "input_schema"})
        return Contract.model_validate(
            document
            | {
                "name": f"{provider}.{self.name}",
                "provider": provider,
                "input_schema": self.schema_of_arguments,
                "execution": self.http.model_dump(),
            }
        )


def _exists(schema: dict[str, Any], pointer: str) -> bool:
    """Whether the schema's own properties lead along a pointer; what they leave open is believed."""
    part: Any = schema
    for token in pointer.split("/")[1:]:
        if not isinstance(part, dict) or "$ref" in part:
            return True
        if token == "*":  # noqa: S105 - a wildcard, no secret
            part = part.get("items", True)
            continue
        properties = part.get("properties", {})
        name = token.replace("~1", "/").replace("~0", "~")
        if name not in properties:
            return part.get("additionalProperties", True) is not False
        part = properties[name]
    return True


class Manifest(Part):
    """One provider: `origins` are its addresses by environment and name, `$NAME` is read from that setting."""

    name: str = Field(pattern=r"^[a-z0-9_]+$", max_length=40)
    title: str
    kind: Literal["bank", "crm", "billing", "helpdesk", "outbound"]
    facts_checked: str
    sources: list[str] = Field(default=[])
    unverified: list[str] = Field(default=[])
    origins: dict[Environment, dict[Name, str]] = Field(min_length=1)
    client: dict[Environment, Prefix] = Field(default={})
    parameters: dict[Name, Parameter] = Field(default={})
    oauth: OAuth
    account: Account | None = None
    answers: Answers = Answers()
    tools: list[Tool] = Field(min_length=1)

    def contradictions(self) -> Iterator[tuple[Place, str]]:
        """Parts that fit the format and not each other, with their place in the manifest."""
        for environment, origins in self.origins.items():
            if "api" not in origins:
                yield ("origins", environment), "there is no address named api"
        tools = {f"{self.name}.{tool.name}": tool for tool in self.tools}
        seen: set[str] = set()
        for number, tool in enumerate(self.tools):
            if tool.name in seen:
                yield ("tools", number, "name"), "two tools have the same name"
            seen.add(tool.name)
            for place, message in tool.contradictions():
                yield ("tools", number, *place), message
            if tool.read_back is not None:
                for place, message in _unreadable(tool, tool.read_back, tools.get(tool.read_back.tool)):
                    yield ("tools", number, "read_back", *place), message

    def site(self, environment: Environment, values: dict[str, str] | None = None) -> Site:
        """The provider as a connection of this environment sees it, with the values that the connection keeps.

        Raises ConfigurationError when the provider is not there, or not configured, in this environment, and for a
        value that no longer fits: a request that it went into could reach somebody else.
        """
        if environment not in self.origins:
            raise ConfigurationError(f"{self.title} has no {environment} environment.")
        patterns = {name: part.pattern for name, part in (self.parameters | self.kept).items()}
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

    @property
    def kept(self) -> dict[str, Keep]:
        return self.account.keep if self.account else {}

    def scopes(self, access: Access) -> list[str]:
        asked = self.oauth.scopes
        return asked.read if access == "read" else [*asked.read, *asked.write]

    def contracts(self) -> list[Contract]:
        return [tool.contract(self.name) for tool in self.tools]


def _unreadable(tool: Tool, read_back: ReadBack, reader: Tool | None) -> Iterator[tuple[Place, str]]:
    if reader is None or reader.access != "read":
        yield ("tool",), f"there is no tool named {read_back.tool} here that reads"
        return
    taken = reader.schema_of_arguments
    for name in [*read_back.args, *taken.get("required", [])]:
        if name not in taken.get("properties", {}) or name not in read_back.args:
            yield ("args",), f"{read_back.tool} and args do not agree on {name}"
    known = {"idempotency_key", *tool.schema_of_arguments.get("properties", {})}
    for value in read_back.args.values():
        for name in re.findall(r"{([^}]*)", value) if isinstance(value, str) else []:
            if name not in known:
                yield ("args",), f"{{{name}}} is neither idempotency_key nor an argument of {tool.name}"


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
    for place, message in manifest.contradictions():
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
def manifests() -> dict[str, Manifest]:
    """Every provider by name."""
    return {name: found for name in files() if (found := manifest(name)) is not None}
