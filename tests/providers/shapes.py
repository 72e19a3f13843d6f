"""What a provider documents, as data: one file each, written from its documentation and not from our manifest."""

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import jsonschema_rs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from api.gate.models import Environment

FOLDER = Path(__file__).parent / "shapes"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _json(text: Any) -> Any:
    if not isinstance(text, str):
        raise ValueError("it must be JSON, as text")
    return json.loads(text)


def _schema(schema: Any) -> Any:
    jsonschema_rs.validator_for(schema)
    return schema


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("it must be an https address without a query")
    return url


Json = Annotated[Any, BeforeValidator(_json)]
Schema = Annotated[dict[str, Any], BeforeValidator(_json), AfterValidator(_schema)]
Address = Annotated[str, AfterValidator(_address)]
#: A regular expression that a header's whole value matches.
Pattern = Annotated[str, AfterValidator(lambda text: re.compile(text).pattern)]


class Refusal(_Part):
    """How the provider says no; without an answer it says so by the status alone."""

    status: int = Field(ge=200, le=499)
    answer: Json = None


class Authorize(_Part):
    """The page that a person is sent to; `callback` comes back besides code and state."""

    url: Address
    query: Schema
    callback: dict[str, str] = {}


class Token(_Part):
    """Filled into an answer: `@access_token`, `@refresh_token`, `@scope`, `@scope:parameter`, and `@scopes` (a list).

    extra: JSON Schema of what a request has besides the members of RFC 6749 sections 4.1.3 and 6. claims: what an
    access token says of itself, where it is a JWT.
    """

    url: Address
    client_authentication: Literal["client_secret_basic", "client_secret_post", "secret_as_username"]
    answer: Json
    refresh_answer: Json = None
    content_type: Literal["application/x-www-form-urlencoded", "application/json"] = "application/x-www-form-urlencoded"
    extra: Schema = {"type": "object", "additionalProperties": False}
    claims: Json = None
    rotates: bool
    refused: Refusal = Refusal(status=400, answer='{"error": "invalid_grant"}')


class Revoke(_Part):
    url: str
    method: Literal["POST", "DELETE", "GET"]
    send: Literal["form", "json", "bearer", "path"]
    client_authentication: bool
    token: Literal["refresh_token", "access_token", "either"]
    status: int = 200
    answer: Json = None


class OAuth(_Part):
    authorize: Authorize
    token: Token
    revoke: Revoke | None = None


class Call(_Part):
    """One documented request and its answer; without a tool it is the look-up of the account.

    query: JSON Schema of the query's parameters, all of them text. headers: by name, besides those that every client
    sends. body: JSON Schema of the request's body; of a form its fields as text, of a message (rfc822)
    `{"headers": {lower-case name: value}, "text": "..."}`. equals: the body that `args` make; `@idempotency_key` and
    `@idempotency_uuid` are filled in. not_in_example: pointers of the contract that the documented example
    happens to lack.
    """

    tool: str | None = None
    args: Json = {}
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    url: Address
    query: Schema = {"type": "object", "additionalProperties": False}
    headers: dict[str, Pattern] = {}
    content_type: str | None = None
    body: Schema | None = None
    equals: Json = None
    status: int = Field(default=200, ge=200, le=299)
    answer: Json = None
    refused: Refusal | None = None
    not_in_example: list[str] = []


class Shape(_Part):
    """One provider. `parameters` are what a person would say; `unverified` says which shapes no document confirms."""

    provider: str
    sources: list[str] = Field(min_length=1)
    unverified: list[str] = []
    parameters: dict[str, str] = {}
    environment: Environment
    oauth: OAuth
    calls: list[Call] = Field(min_length=1)

    @property
    def hosts(self) -> set[str]:
        """Every host that the documents name."""
        oauth = self.oauth
        named = [oauth.authorize.url, oauth.token.url, *(call.url for call in self.calls)]
        if oauth.revoke is not None:
            named.append(oauth.revoke.url)
        return {urlsplit(url).netloc for url in named}

    def calls_of(self, tool: str) -> list[Call]:
        return [call for call in self.calls if call.tool == tool]


class ShapeError(ValueError):
    """A shape file does not fit the format; the message begins with the file's name."""


def load(path: Path) -> Shape:
    """Reads one shape file; ShapeError when it does not fit."""
    try:
        shape = Shape.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ShapeError(f"{path.name}: {error}") from None
    for call in shape.calls:
        if (call.body is None) != (call.content_type is None):
            raise ShapeError(f"{path.name}: {call.method} {call.url}: body and content_type come together")
    if shape.oauth.token.rotates and "@refresh_token" not in json.dumps(shape.oauth.token.answer):
        raise ShapeError(f"{path.name}: what rotates must be in the token answer")
    return shape
