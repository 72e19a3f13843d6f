"""What every provider's manifest has to show against its stub. Each function raises AssertionError with the reasons."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import httpx

from api.gate.models import Access, Contract
from api.gate.pointer import leaves, resolve
from api.providers import client
from api.providers.client import Account, Outcome, TokenError, Tokens
from api.providers.manifest import Manifest
from api.providers.site import Site
from api.runs.minimise import label, minimise
from tests.providers.differences import misfits
from tests.providers.serving import Served, serving
from tests.providers.shapes import Call, Shape
from tests.providers.stub import Stub

REDIRECT = "http://127.0.0.1:9/oauth/callback"
CLIENT = ("client-of-ours", "s3cret-of-ours")
#: An attempt's key, as execution makes it, and the UUID in it.
UUID = "01939f6e-5c1d-7a3b-9e42-2f6f8f3f1c55"
KEY = f"cs_{UUID}"
#: Somebody else's.
STRANGER = "cs_01939f6e-5c1d-7a3b-9e42-000000000000"
FILLED = {"@idempotency_key": KEY, "@idempotency_uuid": UUID}
T = TypeVar("T")


@dataclass(frozen=True)
class Provider:
    """A manifest and the provider that it describes, running."""

    manifest: Manifest
    served: Served

    @property
    def stub(self) -> Stub:
        return self.served.stub

    @property
    def shape(self) -> Shape:
        return self.served.stub.shape

    @property
    def site(self) -> Site:
        return self.manifest.site(self.shape.environment, self.manifest.parameters_of(self.shape.parameters))


@dataclass(frozen=True)
class SignedIn:
    """A consent: the tokens, the account, and the site that knows both the parameters and the kept ids."""

    tokens: Tokens
    account: Account
    site: Site


@contextmanager
def running(manifest: Manifest, shape: Shape) -> Iterator[Provider]:
    with serving(Stub(shape, CLIENT, REDIRECT)) as served:
        yield Provider(manifest, served)


def settings_of(provider: Provider) -> Mapping[str, str]:
    """What the deployment would set: our client at the provider, and where the stub is."""
    prefix = provider.manifest.client.get(provider.shape.environment, provider.manifest.name.upper())
    return provider.served.settings | {f"{prefix}_CLIENT_ID": CLIENT[0], f"{prefix}_CLIENT_SECRET": CLIENT[1]}


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def no_complaint(provider: Provider) -> None:
    """The provider was sent nothing but what it documents."""
    assert not provider.stub.complaints, "\n".join(provider.stub.complaints)


def consent(provider: Provider, access: Access, verifier: str) -> dict[str, str]:
    """What comes back to our callback after a person consented."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    url = provider.site.authorization_url(access, REDIRECT, f"state-{verifier}", challenge)
    answer = httpx.get(url, trust_env=False, timeout=30)
    no_complaint(provider)
    assert answer.status_code == 302, answer.text
    callback = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert callback["state"] == f"state-{verifier}"
    return callback


def grant_of(callback: dict[str, str], verifier: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": callback["code"],
        "redirect_uri": REDIRECT,
        "code_verifier": verifier,
    }


def sign_in(provider: Provider, access: Access = "write") -> SignedIn:
    """A whole sign-in: consent, exchange, and which account it was."""
    verifier = f"verifier-{access}".ljust(43, "-")
    callback = consent(provider, access, verifier)

    async def exchanged() -> tuple[Tokens, Account]:
        tokens = await client.exchange(provider.site, grant_of(callback, verifier))
        return tokens, await client.account_of(provider.site, callback, tokens)

    try:
        tokens, account = run(exchanged())
    except (TokenError, client.AccountError) as error:
        raise AssertionError(f"{error} {provider.stub.complaints}") from None
    values = provider.shape.parameters | account.values
    return SignedIn(tokens, account, provider.manifest.site(provider.shape.environment, values))


def check_sign_in(provider: Provider, access: Access) -> None:
    """Consent, code, tokens, the scopes that were granted, and the ids that are kept."""
    manifest, oauth = provider.manifest, provider.manifest.oauth
    if oauth.issuer is not None:
        assert provider.shape.oauth.authorize.callback.get("iss") == provider.site.issuer
    signed_in = sign_in(provider, access)
    no_complaint(provider)
    tokens = signed_in.tokens
    granted = provider.stub.grants[-1]
    assert tokens.access_token == granted.access_token
    if "@refresh_token" in str(provider.shape.oauth.token.answer):
        assert tokens.refresh_token == granted.refresh_token
    assert (tokens.expires_in is None) == oauth.never_expires
    if oauth.refresh_expires_in is not None:
        assert tokens.refresh_expires_in, f"nothing is at {oauth.refresh_expires_in} of the token answer"
    asked = set(manifest.scopes(access))
    assert oauth.scopes.reported == (tokens.scopes is not None), "whether the answer reports what was granted"
    assert tokens.scopes is None or set(tokens.scopes) == asked
    if manifest.account is not None:
        assert signed_in.account.id, "no account"
        assert signed_in.account.label, "no label"
        demanded = {name for name, keep in manifest.account.keep.items() if not keep.optional}
        assert demanded <= signed_in.account.values.keys()


def check_spent_code(provider: Provider) -> None:
    """A code that the provider does not take ends the sign-in with the provider's own word for it."""
    verifier = "verifier".ljust(43, "-")
    callback = consent(provider, "read", verifier)

    async def twice() -> None:
        for _ in range(2):
            await client.exchange(provider.site, grant_of(callback, verifier))

    error = token_error(twice())
    no_complaint(provider)
    assert error.final, f"{error} is not taken as final"


def token_error(work: Coroutine[Any, Any, object]) -> TokenError:
    """The refusal that asking for tokens ends with."""
    try:
        run(work)
    except TokenError as error:
        return error
    raise AssertionError("tokens were given")


def check_refresh(provider: Provider) -> None:
    """A refresh gives new tokens, rotates as the manifest says, and an old or foreign token ends the consent."""
    signed_in = sign_in(provider)
    rotates = provider.manifest.oauth.refresh_rotates
    if signed_in.tokens.refresh_token is None:
        assert provider.manifest.oauth.never_expires, "there is no refresh token, and access tokens end"
        return
    assert not provider.manifest.oauth.never_expires, "there is a refresh token, and the manifest says never_expires"

    first = refresh(signed_in)
    assert first.access_token == provider.stub.grants[-1].access_token != signed_in.tokens.access_token
    assert (first.refresh_token != signed_in.tokens.refresh_token) == rotates, "whether refresh tokens rotate"
    second = refresh(signed_in, first.refresh_token)
    assert second.access_token != first.access_token
    no_complaint(provider)
    foreign = {"grant_type": "refresh_token", "refresh_token": "a-token-that-nobody-issued"}
    error = token_error(client.exchange(signed_in.site, foreign))
    assert error.final, f"{error} is not taken as final"


def refresh(signed_in: SignedIn, token: str | None = None) -> Tokens:
    """Exchanges a refresh token: the sign-in's own, unless told otherwise."""
    grant = {"grant_type": "refresh_token", "refresh_token": str(token or signed_in.tokens.refresh_token)}
    return run(client.exchange(signed_in.site, grant))


def contract_of(provider: Provider, tool: str | None) -> Contract:
    [contract] = [c for c in provider.manifest.contracts() if c.name == f"{provider.manifest.name}.{tool}"]
    return contract


def call_once(provider: Provider, call: Call, *, refusing: bool = False) -> Outcome:
    """One documented call, made through the contract with the arguments that an agent would give."""
    contract = contract_of(provider, call.tool)
    assert misfits(contract.input_schema, call.args, "the arguments") == []
    signed_in = sign_in(provider, contract.access)
    stub = provider.stub
    stub.expected, stub.filled, stub.refusing = call, FILLED, refusing
    try:
        return run(client.call_tool(signed_in.site, contract, call.args, signed_in.tokens.access_token, KEY))
    finally:
        stub.expected, stub.refusing = None, False


def check_call(provider: Provider, call: Call) -> None:
    """The request is the documented one, and the documented answer is read."""
    outcome = call_once(provider, call)
    no_complaint(provider)
    assert (outcome.reached, outcome.error) == ("yes", None)
    assert outcome.status == call.status
    assert outcome.body == call.answer


def check_refusal(provider: Provider, call: Call) -> None:
    """The documented refusal is one: nothing was done, and nobody has to find out whether it was."""
    outcome = call_once(provider, call, refusing=True)
    no_complaint(provider)
    assert outcome.reached == "no", f"{outcome.reached}: {outcome.error}"
    assert outcome.error


def check_labels(provider: Provider, tool: str) -> None:
    """Everything that the contract says of an answer is said of something that the documented answer has."""
    contract, calls = contract_of(provider, tool), provider.shape.calls_of(tool)
    excused = {pointer for call in calls for pointer in call.not_in_example}
    pointers = {*contract.output.trust, *contract.output.data_classes} - {""}
    found = {pointer for pointer in pointers if any(list(resolve(call.answer, pointer)) for call in calls)}
    assert pointers - found - excused == set(), "these pointers lead nowhere in the documented answer"
    assert excused & found == set(), "these pointers are excused and lead somewhere"
    assert excused <= pointers, "these pointers are excused and not in the contract"
    for call in calls:
        labels = label(contract, call.answer)
        assert len(labels) <= len(list(leaves(call.answer)))
        for pointer in found:
            for at, value in resolve(call.answer, pointer):
                kept = minimise(call.answer, [at])
                assert value in (kept, *(part for _, part in _inside(kept)))


def _inside(document: Any) -> Iterator[tuple[str, Any]]:
    parts = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    for part in parts:
        yield "", part
        yield from _inside(part)


def check_read_back(provider: Provider, tool: str) -> None:
    """The write's own arguments make the read that tells whether it happened, which shows ours and nobody else's."""
    contract = contract_of(provider, tool)
    assert contract.read_back is not None
    reading = contract.read_back.tool.removeprefix(f"{provider.manifest.name}.")
    answers = [call.answer for call in provider.shape.calls_of(reading)]
    found = [value for answer in answers for _, value in resolve(answer, contract.read_back.found)]
    assert found, f"nothing is at {contract.read_back.found}"
    equals = contract.read_back.equals
    if isinstance(equals, bool | int):
        assert any(
            isinstance(value, bool) == isinstance(equals, bool) for value in found if isinstance(value, int | float)
        ), "nothing there is of its kind"
    for call in provider.shape.calls_of(tool):
        args = client.read_back_args(contract, call.args, KEY)
        assert misfits(contract_of(provider, reading).input_schema, args, "the read") == []
        if isinstance(equals, str) and "{idempotency_" in equals:
            examples = [_with(answer, found, ours) for answer in answers for ours in (KEY, UUID)]
            assert any(client.read_back_found(contract, call.args, KEY, e) for e in examples), "ours is not found"
            taken = [e for e in examples if client.read_back_found(contract, call.args, STRANGER, e)]
            assert not taken, "what is ours is taken for somebody else's"


def _with(answer: Any, values: list[Any], ours: str) -> Any:
    """The answer with our key where the read-back looks."""
    text = json.dumps(answer)
    for value in values:
        text = text.replace(json.dumps(value), json.dumps(ours))
    return json.loads(text)


def check_revocation(provider: Provider) -> None:
    """Disconnecting ends the consent at the provider, where the provider has a way."""
    signed_in = sign_in(provider)
    tokens = {"access_token": signed_in.tokens.access_token, "refresh_token": signed_in.tokens.refresh_token or ""}
    result = run(client.revoke(signed_in.site, tokens))
    no_complaint(provider)
    if provider.shape.oauth.revoke is None:
        assert result == "unsupported", "no way is documented"
        return
    assert result == "confirmed"
    assert provider.stub.grants[-1].revoked
