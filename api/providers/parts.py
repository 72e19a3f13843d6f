"""What a manifest says of a provider beside its tools: where it is, how one signs in, and which account that was."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from api.gate.models import Environment, Pointer
from api.gate.pointer import resolve
from api.providers.patterns import is_anchored

Style = Literal["client_secret_basic", "client_secret_post", "secret_as_username"]


class Part(BaseModel):
    """A part of a file: it is frozen, and a misspelt key in it is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _anchored(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"it is not a regular expression: {error}") from None
    if not is_anchored(pattern):
        raise ValueError("it must be anchored as a whole: ^...$, with alternatives in a group")
    return pattern


#: A regular expression that a whole value has to match.
Pattern = Annotated[str, AfterValidator(_anchored)]
#: What `{name}` may stand for.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
#: The names of the settings with our client's id and secret begin so.
Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=60)]


class Parameter(Part):
    """What a person says before the sign-in."""

    title: str = Field(min_length=1, max_length=200)
    pattern: Pattern


class Scopes(Part):
    """Scopes asked for: `read` for a read connection, `read` and `write` together for a write connection.

    sent: whether they are asked for at all, or set at the provider. implied: granted unasked, and harmless.
    reported: whether the token answer names what was granted; at: where, as a list or a text.
    read_enforced_by: who keeps a read connection from writing: the provider, whose token cannot, or only this gateway.
    words: what each scope lets its holder do, as a person understands it after "can": `read accounts`.
    """

    read: list[str]
    write: list[str] = []
    separator: str = Field(default=" ", min_length=1, max_length=1)
    sent: bool = True
    implied: list[str] = []
    reported: bool = True
    parameter: str = Field(default="scope", pattern=r"^[a-z_]+$")
    at: Pointer = "/scope"
    read_enforced_by: Literal["provider", "gateway"] = "gateway"
    words: dict[str, Annotated[str, Field(min_length=1, max_length=120)]] = Field(default={}, max_length=60)


class Revoke(Part):
    """How a grant is ended at the provider (RFC 7009, or what the provider has instead).

    ends: what that ends: the tokens of this consent, or whatever the account ever granted to our application.
    """

    url: str
    method: Literal["POST", "DELETE", "GET"] = "POST"
    send: Literal["form", "json", "bearer", "path"] = "form"
    token: Literal["refresh_token", "access_token"] = "refresh_token"  # noqa: S105
    client_authentication: bool = True
    ends: Literal["token", "grant"] = "token"


class OAuth(Part):
    """Endpoints and quirks of a provider's OAuth (RFC 6749); addresses are templates.

    issuer: what the provider sends as `iss` with every authorization response (RFC 9207); None when it sends none.
    ended_by: the error codes with which the token endpoint says that the consent is gone.
    """

    authorize_url: str
    token_url: str
    issuer: str | None = None
    client_authentication: Style = "client_secret_basic"
    pkce: Literal["required", "supported", "ignored"] = "ignored"
    authorize_parameters: dict[str, str] = {}
    token_parameters: dict[str, str] = {}
    token_body: Literal["form", "json"] = "form"  # noqa: S105 - how it is written
    default_expires_in: int = Field(default=3600, gt=0)
    refresh_rotates: bool = True
    never_expires: bool = False
    refresh_idle_days: int | None = Field(default=None, gt=0)
    refresh_expires_in: Pointer | None = None
    consent_days: int | None = Field(default=None, gt=0)
    ended_by: list[str] = Field(default=["invalid_grant"], min_length=1)
    scopes: Scopes
    revoke: Revoke | None = None


def _all_anchored(pattern: str | dict[Environment, str]) -> str | dict[Environment, str]:
    for one in [pattern] if isinstance(pattern, str) else pattern.values():
        _anchored(one)
    return pattern


class Keep(Part):
    """An id that is kept with the connection: a parameter of the callback, or what a pointer finds in an answer.

    claims: the payload of an access token that is a JWT; it came from the token endpoint itself. pattern: what the
    whole value has to match, for each environment its own where it tells them apart.
    """

    source: Literal["callback", "token", "claims", "lookup"] = Field(alias="from")
    at: str = Field(min_length=1, max_length=200)
    pattern: Annotated[str | dict[Environment, str], AfterValidator(_all_anchored)]
    optional: bool = False

    def pattern_in(self, environment: Environment) -> str:
        """The pattern of an environment; one that nothing matches where there is none."""
        return self.pattern if isinstance(self.pattern, str) else self.pattern.get(environment, "(?!)")


class Account(Part):
    """Which account was authorised; `id` and `label` are templates over parameters and kept ids."""

    lookup: str | None = None
    id: str = Field(min_length=1)
    label: str = Field(min_length=1)
    keep: dict[Name, Keep] = {}


class Limit(Part):
    """How many requests a provider takes in how many seconds; up to an hour a rate, beyond it a quota.

    per: each connection by itself, or all of the tenant's to one account there. environment: where only one has it.
    """

    name: Name
    requests: int = Field(ge=1, le=10_000_000)
    seconds: int = Field(ge=1, le=31 * 86_400)
    per: Literal["connection", "account"] = "account"
    environment: Environment | None = None


class Success(Part):
    at: Pointer
    equals: Any


#: An error code of a provider: one word or number, nothing that a person would have written into an answer.
_CODE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_DECLARED_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}|[0-9]{1,8}")


class Answers(Part):
    """How answers say that they are refusals, where the HTTP status does not.

    success: what an answer with a 2xx status has to hold, or it is a refusal that did nothing. error: where the
    provider's error code is. unsure: the codes after which nobody knows whether it was done. unauthorized: the codes
    that say what status 401 says: another access token may do.
    """

    success: Success | None = None
    error: Pointer | None = None
    unsure: list[str] = []
    unauthorized: list[str] = []

    def code(self, body: Any) -> str | None:
        """The provider's error code in the answer of a refusal, if that names one."""
        if self.error is None:
            code = body.get("error") if isinstance(body, dict) else None
            return code if isinstance(code, str) and _CODE.fullmatch(code) else None
        code = next((value for _, value in resolve(body, self.error)), None)
        text = str(code) if type(code) in (str, int) else ""
        return text if _DECLARED_CODE.fullmatch(text) else None

    def verdict(self, body: Any) -> Literal["done", "refused", "unsure"]:
        """What an answer with a 2xx status says; `unsure` when it says neither that it was done nor that it was not."""
        if self.success is None:
            return "done"
        found = [value for _, value in resolve(body, self.success.at)]
        if found and type(found[0]) is type(self.success.equals) and found[0] == self.success.equals:
            return "done"
        code = self.code(body)
        return "unsure" if code in self.unsure or not (found or code) else "refused"
