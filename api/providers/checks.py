"""Parts of a manifest that fit the format, and not each other."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from api.providers.patterns import HOST, characters, pins_address
from api.providers.premise_checks import premise_mistakes
from api.providers.template import IDEMPOTENCY, PLACEHOLDER
from api.providers.toml_lines import Place
from api.providers.tool import Tool
from api.providers.tool_checks import contradictions_of, unreadable
from api.providers.undo_checks import undo_mistakes

if TYPE_CHECKING:
    from api.providers.manifest import Manifest

Mistakes = Iterator[tuple[Place, str]]
_SETTING = re.compile(r"\$[A-Z][A-Z0-9_]*")
#: What an authorization request says for itself (RFC 6749 section 4.1.1, RFC 7636).
_OURS = {
    "response_type", "client_id", "client_secret", "redirect_uri", "state",
    "code_challenge", "code_challenge_method",
}  # fmt: skip


_GRANT = {"grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "client_id", "client_secret"}


def contradictions(manifest: "Manifest") -> Mistakes:
    """What is wrong with a manifest, with its place in it."""
    yield from _values(manifest)
    yield from _origins(manifest)
    yield from _oauth(manifest)
    yield from _account(manifest)
    tools: dict[str, Tool] = {f"{manifest.name}.{tool.name}": tool for tool in manifest.tools}
    seen: set[str] = set()
    for number, tool in enumerate(manifest.tools):
        if tool.name in seen:
            yield ("tools", number, "name"), "two tools have the same name"
        seen.add(tool.name)
        for place, message in contradictions_of(tool, manifest):
            yield ("tools", number, *place), message
        if tool.read_back is not None:
            for place, message in unreadable(tool, tool.read_back, tools.get(tool.read_back.tool)):
                yield ("tools", number, "read_back", *place), message
        for place, message in (*undo_mistakes(tool, tools), *premise_mistakes(tool, tools)):
            yield ("tools", number, *place), message


def _values(manifest: "Manifest") -> Mistakes:
    """A name stands for one thing."""
    taken = {*IDEMPOTENCY, "token", *manifest.origin_names}
    for name in manifest.parameters:
        if name in taken:
            yield ("parameters", name), f"the name {name} is taken"
    for name, keep in manifest.kept.items():
        if name in taken | set(manifest.parameters):
            yield ("account", "keep", name), f"the name {name} is taken"
        if keep.source != "callback" and not re.fullmatch(r"(/([^~/]|~[01])*)+", keep.at):
            yield ("account", "keep", name, "at"), "it must be a JSON pointer into the answer, as /id"
        if keep.source == "lookup" and (manifest.account is None or manifest.account.lookup is None):
            yield ("account", "keep", name, "from"), "there is no lookup in [account] that it could come from"
        for environment in [] if isinstance(keep.pattern, str) else sorted(set(manifest.origins) - set(keep.pattern)):
            yield ("account", "keep", name, "pattern"), f"there is none for the {environment} environment"


def _origins(manifest: "Manifest") -> Mistakes:
    for environment, origins in manifest.origins.items():
        if "api" not in origins:
            yield ("origins", environment), "there is no address named api"
    for environment, origins in manifest.origins.items():
        for name in sorted(manifest.origin_names - set(origins)):
            yield ("origins", environment), f"there is no address named {name}, which the other environment has"
        for name, text in origins.items():
            for message in _address(manifest, text):
                yield ("origins", environment, name), message
    for environment in manifest.client:
        if environment not in manifest.origins:
            yield ("client", environment), f"there are no [origins.{environment}]"


def _address(manifest: "Manifest", text: str) -> Iterator[str]:
    """A value in an address cannot lead the credential to somebody else's host."""
    if _SETTING.fullmatch(text):
        return
    names = PLACEHOLDER.findall(text)
    whole = PLACEHOLDER.fullmatch(text)
    if not whole and not re.fullmatch(
        r"https://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)*/?", PLACEHOLDER.sub("x", text)
    ):
        yield "it must be https://host, {kept_address} or $SETTING, without query"
    for name, _ in names:
        patterns = _patterns(manifest, name)
        if not patterns:
            yield f"{{{name}}} is neither a parameter nor a kept id that is always there"
        elif whole and not all(map(pins_address, patterns)):
            yield f"the pattern of {name} must pin its domain: ^https://[a-z0-9-]+\\.example\\.com$"
        elif not whole and not all(characters(pattern) <= HOST for pattern in patterns):
            yield f"the pattern of {name} must allow letters, digits, dots and hyphens only, since it names a host"


def _patterns(manifest: "Manifest", name: str) -> list[str]:
    """What a value that is always there may be; nothing for a name that stands for none."""
    if name in manifest.parameters:
        return [manifest.parameters[name].pattern]
    keep = manifest.kept.get(name)
    return [keep.pattern_in(environment) for environment in manifest.origins] if keep and not keep.optional else []


def _oauth(manifest: "Manifest") -> Mistakes:
    oauth, asked = manifest.oauth, manifest.oauth.scopes
    said = set(manifest.parameters)
    for key in ("authorize_url", "token_url", "issuer"):
        for message in _url(manifest, getattr(oauth, key), said):
            yield ("oauth", key), message
    if oauth.revoke is not None:
        known = said | set(manifest.kept) | ({"token"} if oauth.revoke.send == "path" else set())
        for message in _url(manifest, oauth.revoke.url, known):
            yield ("oauth", "revoke", "url"), message
        if oauth.revoke.send == "path" and "{token}" not in oauth.revoke.url:
            yield ("oauth", "revoke", "url"), "with send = path it has to name {token}"
        if oauth.revoke.send == "path" and "token" in manifest.origin_names:
            yield ("oauth", "revoke", "url"), "{token} is the token and an address of [origins]: rename the address"
        if oauth.revoke.method == "GET" and oauth.revoke.send in ("form", "json"):
            yield ("oauth", "revoke", "method"), "a GET has no body: send the token as bearer or in the path"
    for name in sorted({*_OURS, asked.parameter} & set(oauth.authorize_parameters)):
        yield ("oauth", "authorize_parameters"), f"{name} is said by the request itself"
    for name, value in oauth.authorize_parameters.items():
        for inner in re.findall(r"{([^}]*)", value):
            if inner not in said:
                yield ("oauth", "authorize_parameters", name), f"{{{inner}}} is no parameter"
    for name in sorted(_GRANT & set(oauth.token_parameters)):
        yield ("oauth", "token_parameters"), f"{name} is said by the request itself"
    for name in sorted(set(asked.implied) & {*asked.read, *asked.write}):
        yield ("oauth", "scopes", "implied"), f"{name} is asked for, so it is not implied"
    for name in sorted(set(asked.read) & set(asked.write)):
        yield ("oauth", "scopes", "write"), f"{name} is in read, which a write connection asks for as well"
    if oauth.never_expires and (oauth.refresh_idle_days or oauth.refresh_expires_in):
        yield ("oauth", "never_expires"), "a token that never expires has no refresh token whose life could be told"


def _url(manifest: "Manifest", template: str | None, known: set[str]) -> Iterator[str]:
    """An address is made of an origin and of what is known when it is called."""
    if template is None:
        return
    plain = PLACEHOLDER.sub("x", template)
    first = PLACEHOLDER.match(template)
    if not (first and first[1] in manifest.origin_names) and not plain.startswith("https://"):
        yield "it must begin with an address of [origins], as {api}, or with https://"
    elif not re.fullmatch(r"[A-Za-z0-9._~:/@-]+", plain):
        yield "it must be an address without query and fragment"
    for name, form in PLACEHOLDER.findall(template):
        inside = {
            inner for origins in manifest.origins.values() for inner, _ in PLACEHOLDER.findall(origins.get(name, ""))
        }
        for missing in sorted(({name} if name not in manifest.origin_names else inside) - known):
            yield f"{{{missing}}} is not known when this address is called"
        if form:
            yield f"{{{name}|{form}}}: there are no amounts in an address"


def _account(manifest: "Manifest") -> Mistakes:
    account = manifest.account
    if account is None:
        return
    before = {name for name, keep in account.keep.items() if keep.source != "lookup"}
    for message in _url(manifest, account.lookup, set(manifest.parameters) | before):
        yield ("account", "lookup"), message
    for key in ("id", "label"):
        for name in re.findall(r"{([^}]*)", getattr(account, key)):
            if name not in manifest.parameters and name not in account.keep:
                yield ("account", key), f"{{{name}}} is neither a parameter nor a kept id"
            elif key == "id" and name in account.keep and account.keep[name].optional:
                yield ("account", key), f"{{{name}}} is optional, and an account needs an id"
