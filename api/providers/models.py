"""Providers as the API shows them."""

from pydantic import BaseModel

from api.gate.models import Access, Effect, Environment


class ShownParameter(BaseModel):
    """What a person says before the sign-in; `pattern` is what the whole value has to match."""

    title: str
    pattern: str


class ShownScopes(BaseModel):
    """What a connection of each access asks for; `words` says of each scope what it lets its holder do."""

    read: list[str]
    write: list[str]
    words: dict[str, str]


class TokenLife(BaseModel):
    """How long what a connection holds lasts; seconds and days, null where nothing ends it or nobody says.

    refresh_rotates: whether each refresh token is good for one use.
    """

    access_seconds: int | None
    refresh_rotates: bool
    refresh_idle_days: int | None
    consent_days: int | None


class ShownTool(BaseModel):
    name: str
    title: str
    access: Access
    effect: Effect


class Provider(BaseModel):
    """What can be connected.

    facts_checked: when its manifest was last compared with what the provider documents in `sources`; unverified: what
    no document confirms. scopes: what a connection of each access asks for. read_enforced_by: who keeps a read
    connection from writing: the provider, or, where it has no narrower scope, this gateway alone. revocable: whether
    disconnecting ends the grant at the provider too.
    """

    name: str
    title: str
    kind: str
    facts_checked: str
    sources: list[str]
    unverified: list[str]
    environments: list[Environment]
    parameters: dict[str, ShownParameter]
    scopes: ShownScopes
    read_enforced_by: str
    tokens: TokenLife
    revocable: bool
    tools: list[ShownTool]
