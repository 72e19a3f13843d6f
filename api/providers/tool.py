"""One operation of a provider, as its manifest describes it, and the contract that is published for it."""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, field_validator

from api.gate.models import (
    Access,
    Argument,
    Compensation,
    Contract,
    Effect,
    Execution,
    Output,
    Pointer,
    Premise,
    ReadBack,
    State,
)
from api.providers.parts import Answers, Name, Part

#: Headers that the request itself needs, or that carry the credential.
_OURS = {"authorization", "connection", "content-length", "cookie", "host", "transfer-encoding"}


def _header(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,60}", name) or name.lower() in _OURS:
        raise ValueError("it is no header that a manifest may set")
    return name


class Http(Part):
    """The request of a tool; path, query, headers and template take placeholders."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    origin: Name = "api"
    path: str = Field(pattern=r"^(/([A-Za-z0-9._~:@-]|\{\w+\})+)+$")
    query: dict[Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,60}$")], str] = Field(default={})
    headers: dict[Annotated[str, AfterValidator(_header)], str] = Field(default={})
    body: Literal["json", "form", "rfc822", "none"] = "none"
    template: str | None = None
    must_equal: dict[Name, str] = Field(default={})
    idempotency_header: Annotated[str, AfterValidator(_header)] | None = None

    @field_validator("template")
    @classmethod
    def _is_json(cls, text: str | None) -> str | None:
        try:
            document = None if text is None else json.loads(text, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            raise ValueError(f"it is not JSON: {error}") from None
        if text is not None and not isinstance(document, dict | list):
            raise ValueError("it must be a JSON object or list")
        return text

    @property
    def document(self) -> Any:
        """The template as JSON."""
        return None if self.template is None else json.loads(self.template)

    def execution(self) -> Execution:
        """The request as the contract holds it."""
        return Execution.model_validate(self.model_dump() | {"template": self.document})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("it names a member twice")
    return members


# A contract that is read back passes over what it does not know; a manifest's typing errors must not pass.
class _Argument(Argument):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Output(Output):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _ReadBack(ReadBack):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Premise(Premise):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _State(State):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Compensation(Compensation):
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
    idempotency_seconds: int | None = Field(default=None, gt=0)
    input_schema: str
    arguments: dict[Pointer, _Argument] = Field(default={})
    output: _Output = _Output()
    answers: Answers | None = None
    http: Http
    read_back: _ReadBack | None = None
    state: _State | None = None
    compensate: _Compensation | None = None
    rests_on: list[_Premise] = Field(default=[])

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

    def contract(self, provider: str) -> Contract:
        """The contract that is published for this tool."""
        document = self.model_dump(exclude={"name", "answers", "http", "input_schema"})
        return Contract.model_validate(
            document
            | {
                "name": f"{provider}.{self.name}",
                "provider": provider,
                "input_schema": self.schema_of_arguments,
                "execution": self.http.execution(),
            }
        )
