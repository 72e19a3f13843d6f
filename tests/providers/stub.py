"""A provider made from its shape: it answers as documented to what is documented, and complains about the rest."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from tests.providers.differences import differences, fill, media_type, misfits, pairs, parsed
from tests.providers.shapes import Call, Refusal, Shape

_FORM = "application/x-www-form-urlencoded"


@dataclass
class Grant:
    """One consent: what was asked for, and the tokens in force."""

    asked: dict[str, str]
    access_token: str = ""
    refresh_token: str = ""
    revoked: bool = False


@dataclass
class Stub:
    """One provider. `complaints` is what it was sent and should not have been; `urls` every address that was called.

    refusing: it answers the documented refusal where one is documented.
    expected: the only call that may come next; None takes each that is documented.
    filled: what the placeholders of the next call's body stand for.
    answers: by tool, what its calls are answered with instead of the documented example: another state of the world.
    """

    shape: Shape
    client: tuple[str, str]
    redirect_uri: str
    refusing: bool = False
    expected: Call | None = None
    filled: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    codes: dict[str, Grant] = field(default_factory=dict)

    def answer(self, request: Request, url: str, content: bytes) -> Response:
        """Answers a request to a provider's own address."""
        self.urls.append(f"{request.method} {url}?{request.url.query}".removesuffix("?"))
        oauth = self.shape.oauth
        if url == oauth.authorize.url and request.method == "GET":
            return self._authorize(request)
        if url == oauth.token.url and request.method == "POST":
            return self._token(request, content)
        if self._revoked_by(request, url):
            return self._revoke(request, url, content)
        return self._call(request, url, content)

    def _complain(self, *complaints: str, status: int = 400, error: str = "invalid_request") -> Response:
        self.complaints += complaints
        return JSONResponse({"error": error, "error_description": "; ".join(complaints)}, status)

    def _authorize(self, request: Request) -> Response:
        query = pairs(request.url.query)
        schema = self.shape.oauth.authorize.query
        # A server passes over parameters that it does not know (RFC 6749 section 3.1), and ours always sends these two.
        ours = {"code_challenge", "code_challenge_method"} - schema.get("properties", {}).keys()
        known = {name: value for name, value in query.items() if name not in ours}
        wrong = misfits(schema, known, "the authorization request")
        if query.get("client_id") != self.client[0]:
            wrong.append("the authorization request is of another client")
        if query.get("redirect_uri") != self.redirect_uri:
            wrong.append("the authorization request names another redirect_uri")
        if wrong:
            return self._complain(*wrong)
        code = secrets.token_urlsafe(16)
        self.codes[code] = Grant(query)
        back = {"code": code, "state": query["state"]} | self.shape.oauth.authorize.callback
        return RedirectResponse(f"{self.redirect_uri}?{urlencode(back)}", 302)

    def _token(self, request: Request, content: bytes) -> Response:
        wanted = self.shape.oauth.token.content_type
        if media_type(request) != wanted:
            return self._complain(f"the token request is {media_type(request)} and must be {wanted}")
        form = parsed(wanted, content)
        wrong = self._client_differs(request, form)
        if wrong:
            return self._complain(wrong, status=401, error="invalid_client")
        grant_type = form.pop("grant_type", None)
        if grant_type == "authorization_code":
            return self._exchange(form)
        if grant_type == "refresh_token":
            return self._refresh(form)
        return self._complain(f"the token request is for {grant_type}", error="unsupported_grant_type")

    def _client_differs(self, request: Request, form: dict[str, Any]) -> str | None:
        """What is wrong with how the client says who it is; takes its id and secret out of the form."""
        style = self.shape.oauth.token.client_authentication
        basic, inside = _basic(request), (form.pop("client_id", None), form.pop("client_secret", None))
        known = {
            "client_secret_basic": (self.client, None),
            "client_secret_post": (None, self.client),
            "secret_as_username": ((self.client[1], ""), None),
        }
        if style == "client_secret_basic" and basic is not None:
            basic = unquote(basic[0]), unquote(basic[1])  # each is form-encoded first (RFC 6749 section 2.3.1)
        given = basic, inside if inside[1] is not None else None
        return None if given == known[style] else f"the client is not known by {style}"

    def _exchange(self, form: dict[str, Any]) -> Response:
        grant = self.codes.pop(form.pop("code", ""), None)
        verifier = form.pop("code_verifier", "")
        redirect_uri = form.pop("redirect_uri", None)
        wrong = misfits(self.shape.oauth.token.extra, form, "the token request")
        if grant is None:
            return self._refused(self.shape.oauth.token.refused)
        if redirect_uri != grant.asked["redirect_uri"]:
            wrong.append("the token request names another redirect_uri than the authorization request")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if grant.asked.get("code_challenge") != challenge or grant.asked.get("code_challenge_method") != "S256":
            wrong.append("the verifier does not belong to the challenge")
        if wrong:
            return self._complain(*wrong, error="invalid_grant")
        self.grants.append(grant)
        grant.refresh_token = f"stub-refresh-{secrets.token_hex(16)}"
        return self._issue(grant, self.shape.oauth.token.answer)

    def _refresh(self, form: dict[str, Any]) -> Response:
        token = self.shape.oauth.token
        presented = form.pop("refresh_token", "")
        wrong = misfits(token.extra, form, "the refresh request")
        if wrong:
            return self._complain(*wrong)
        for grant in self.grants:
            if not grant.revoked and secrets.compare_digest(grant.refresh_token, presented):
                if token.rotates:
                    grant.refresh_token = f"stub-refresh-{secrets.token_hex(16)}"
                return self._issue(grant, token.refresh_answer or token.answer)
        return self._refused(token.refused)

    def _issue(self, grant: Grant, answer: Any) -> Response:
        grant.access_token = _access_token(self.shape.oauth.token.claims)
        asked = grant.asked.get("scope", "")
        filled = {
            "@access_token": grant.access_token,
            "@refresh_token": grant.refresh_token,
            "@scope": asked,
            "@scopes": asked.replace(",", " ").split(),
            **{f"@scope:{name}": value for name, value in grant.asked.items()},
        }
        return JSONResponse(fill(answer, filled))

    def _revoked_by(self, request: Request, url: str) -> bool:
        how = self.shape.oauth.revoke
        if how is None or request.method != how.method:
            return False
        before, _, after = how.url.partition("{token}")
        return url == how.url or (how.send == "path" and url.startswith(before) and url.endswith(after))

    def _revoke(self, request: Request, url: str, content: bytes) -> Response:
        how = self.shape.oauth.revoke
        assert how is not None
        form: dict[str, Any] = {}
        if how.send in ("form", "json"):
            if media_type(request) != (_FORM if how.send == "form" else "application/json"):
                return self._complain(f"the revocation is {media_type(request)}")
            form = parsed(media_type(request), content)
        elif content:
            return self._complain("the revocation has a body")
        if how.client_authentication and (wrong := self._client_differs(request, form)):
            return self._complain(wrong, status=401, error="invalid_client")
        if how.send == "path":
            token = unquote(url[len(how.url.partition("{token}")[0]) :])
        else:
            token = _bearer(request) if how.send == "bearer" else form.pop("token", "")
        if form:
            return self._complain(*(f"the revocation has {name}" for name in form))
        kinds = ("refresh_token", "access_token") if how.token == "either" else (how.token,)
        for grant in self.grants:
            if any(token and getattr(grant, kind) == token for kind in kinds):
                grant.revoked = True
                return _answer(how.status, how.answer)
        return self._complain(f"the revocation names no {how.token} that is in force")

    def _call(self, request: Request, url: str, content: bytes) -> Response:
        what = f"{request.method} {url}"
        token = _bearer(request)
        if not any(token and grant.access_token == token and not grant.revoked for grant in self.grants):
            return self._complain(f"{what}: the access token is not the last one issued", status=401)
        known = self.shape.calls if self.expected is None else [self.expected]
        fitting = [call for call in known if call.method == request.method and _same_path(call.url, url)]
        if not fitting:
            return self._complain(f"{what} is not documented", status=404)
        wrong: list[str] = []
        for call in fitting:
            found = differences(call, request, content, self.filled)
            if not found:
                return self._done(call)
            wrong += [f"{what} ({call.tool}): {text}" for text in found]
        return self._complain(*wrong)

    def _done(self, call: Call) -> Response:
        if self.refusing and call.refused is not None:
            return self._refused(call.refused)
        return _answer(call.status, self.answers.get(call.tool or "", call.answer))

    def _refused(self, refusal: Refusal) -> Response:
        return _answer(refusal.status, refusal.answer)


def _answer(status: int, body: Any) -> Response:
    return Response(status_code=status) if body is None else JSONResponse(body, status)


def _access_token(claims: Any) -> str:
    """A new access token: opaque, or with claims a JWT (RFC 7519) whose signature nobody checks."""
    unique = secrets.token_hex(16)
    if claims is None:
        return f"stub-access-{unique}"
    parts = ({"alg": "RS256", "typ": "JWT"}, claims | {"jti": unique})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return ".".join((*encoded, unique))


def _same_path(documented: str, called: str) -> bool:
    """The same address, however each of them escapes what needs no escaping."""
    one, other = urlsplit(documented), urlsplit(called)
    pieces = [[unquote(piece) for piece in parts.path.split("/")] for parts in (one, other)]
    return one.netloc == other.netloc and pieces[0] == pieces[1]


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return None
    return name, secret


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""
