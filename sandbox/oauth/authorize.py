"""The authorization endpoint and the person's way through it: sign in, consent, back to the client."""

import re
import secrets
from collections.abc import Collection
from hmac import compare_digest
from typing import Annotated
from urllib.parse import urlencode, urlsplit, urlunsplit

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sandbox.oauth import pages
from sandbox.oauth.grants import Grants
from sandbox.oauth.people import Person
from sandbox.oauth.requests import SESSION_SECONDS, Pending, Requests, csrf_token
from sandbox.oauth.setup import Registration, form_fields

_EXPIRED = "This request has expired or was opened in another browser. Please start again from the application."


class Authorization:
    """The endpoints a person's browser visits."""

    def __init__(self, registration: Registration, grants: Grants, requests: Requests, person: Person) -> None:
        self._at = registration
        self._grants = grants
        self._requests = requests
        self._person = person
        self._cookie = f"sandbox_{registration.name}_session"

    def router(self) -> APIRouter:
        """`/oauth/authorize`, `/oauth/sign-in`, `/oauth/consent`."""
        router = APIRouter()
        router.add_api_route("/oauth/authorize", self.authorize, methods=["GET"], response_model=None)
        router.add_api_route("/oauth/sign-in", self.sign_in, methods=["POST"], response_model=None)
        router.add_api_route("/oauth/consent", self.show_consent, methods=["GET"], response_model=None)
        router.add_api_route("/oauth/consent", self.consent, methods=["POST"], response_model=None)
        return router

    def authorize(self, request: Request) -> Response:
        """RFC 6749 section 4.1.1 with PKCE S256 required (RFC 9700 section 2.1.1).

        A wrong client or redirect URI is shown to the person; everything else is told to the client.
        """
        pairs = request.query_params.multi_items()
        asked = dict(pairs)
        doubled = len(asked) != len(pairs)
        if doubled or asked.get("client_id") != self._at.client_id:
            return self._failure("The application is not registered here.", 400)
        redirect_uri = asked.get("redirect_uri", "")
        if redirect_uri not in self._at.redirect_uris:
            return self._failure("The application gave a return address that is not registered.", 400)
        state = asked.get("state")
        problem = _problem(asked, self._at.scopes)
        if problem is not None:
            return self._back(redirect_uri, state, error=problem[0], error_description=problem[1])
        browser = request.cookies.get(self._cookie) or secrets.token_urlsafe(32)
        pending = self._requests.open(
            browser=browser,
            client_id=self._at.client_id,
            redirect_uri=redirect_uri,
            scopes=tuple(dict.fromkeys(asked["scope"].split())),
            state=state,
            code_challenge=asked["code_challenge"],
        )
        if self._requests.signed_in(browser):
            return self._consent_page(pending, browser)
        answer = self._sign_in_page(pending, browser)
        self._remember(answer, browser)
        return answer

    def sign_in(self, request: Request, form: Annotated[list[tuple[str, str]], Depends(form_fields)]) -> Response:
        """Check the password; a success moves the browser to a new session and on to the consent page."""
        fields = dict(form)
        pending, browser = self._pending(request, fields.get("request", ""))
        if pending is None or not _genuine(browser, pending, fields):
            return self._failure(_EXPIRED, 403)
        known = compare_digest(fields.get("username", "").encode(), self._person.username.encode())
        right = compare_digest(fields.get("password", "").encode(), self._person.password.encode())
        if not (known and right):
            if self._requests.count_failure(pending.id):
                return self._failure("Too many failed attempts. Please start again from the application.", 403)
            return self._sign_in_page(pending, browser, "The username or the password is wrong.")
        browser = self._requests.sign_in(pending.id, browser, self._person.username)
        answer = RedirectResponse(f"/oauth/consent?{urlencode({'request': pending.id})}", status_code=303)
        self._remember(answer, browser)
        return answer

    def show_consent(self, request: Request) -> Response:
        """The consent page of a request, for the person signed in to the browser it belongs to."""
        pending, browser = self._pending(request, request.query_params.get("request", ""))
        if pending is None:
            return self._failure(_EXPIRED, 403)
        if not self._requests.signed_in(browser):
            return self._sign_in_page(pending, browser)
        return self._consent_page(pending, browser)

    def consent(self, request: Request, form: Annotated[list[tuple[str, str]], Depends(form_fields)]) -> Response:
        """Send the browser back with a code for the ticked scopes, or with `access_denied`."""
        fields = dict(form)
        pending, browser = self._pending(request, fields.get("request", ""))
        username = self._requests.signed_in(browser)
        if pending is None or username is None or not _genuine(browser, pending, fields):
            return self._failure(_EXPIRED, 403)
        ticked = {value for name, value in form if name == "scope"}
        granted = [scope for scope in pending.scopes if scope in ticked]
        if not self._requests.close(pending.id):
            return self._failure(_EXPIRED, 403)
        if fields.get("decision") != "allow" or not granted:
            description = "The person did not consent."
            return self._back(pending.redirect_uri, pending.state, error="access_denied", error_description=description)
        code = self._grants.issue_code(
            client_id=pending.client_id,
            username=username,
            scope=" ".join(granted),
            redirect_uri=pending.redirect_uri,
            code_challenge=pending.code_challenge,
        )
        return self._back(pending.redirect_uri, pending.state, code=code)

    def _pending(self, request: Request, request_id: str) -> tuple[Pending | None, str]:
        browser = request.cookies.get(self._cookie, "")
        return self._requests.find(request_id, browser), browser

    def _sign_in_page(self, pending: Pending, browser: str, problem: str | None = None) -> HTMLResponse:
        return pages.sign_in(
            server_title=self._at.title,
            client_name=self._at.client_name,
            hidden=_hidden(pending, browser),
            problem=problem,
        )

    def _consent_page(self, pending: Pending, browser: str) -> HTMLResponse:
        return pages.consent(
            server_title=self._at.title,
            client_name=self._at.client_name,
            person_name=self._person.display_name,
            redirect_uri=pending.redirect_uri,
            scopes={scope: self._at.scopes[scope] for scope in pending.scopes},
            hidden=_hidden(pending, browser),
        )

    def _failure(self, message: str, status: int) -> HTMLResponse:
        return pages.failure(server_title=self._at.title, message=message, status=status)

    def _remember(self, answer: Response, browser: str) -> None:
        answer.set_cookie(
            self._cookie,
            browser,
            max_age=SESSION_SECONDS,
            path="/oauth",
            secure=self._at.issuer.startswith("https:"),
            httponly=True,
            samesite="lax",
        )

    def _back(self, redirect_uri: str, state: str | None, **parameters: str) -> RedirectResponse:
        """303 to the client with `iss` (RFC 9207 section 2) and the client's own `state`."""
        if state is not None:
            parameters["state"] = state
        parts = urlsplit(redirect_uri)
        added = urlencode({**parameters, "iss": self._at.issuer})
        query = f"{parts.query}&{added}" if parts.query else added
        headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return RedirectResponse(urlunsplit(parts._replace(query=query)), status_code=303, headers=headers)


def _problem(asked: dict[str, str], known_scopes: Collection[str]) -> tuple[str, str] | None:
    """What is wrong with a request whose client is known: `(error, error_description)`."""
    if "response_type" not in asked:
        return "invalid_request", "The response_type is missing."
    if asked["response_type"] != "code":
        return "unsupported_response_type", "Only response_type=code is offered."
    if asked.get("code_challenge_method") != "S256":
        return "invalid_request", "PKCE with code_challenge_method=S256 is required."
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", asked.get("code_challenge", "")):
        return "invalid_request", "The code_challenge is missing or malformed."
    scopes = asked.get("scope", "").split()
    if not scopes or not all(scope in known_scopes for scope in scopes):
        return "invalid_scope", "The scope is missing or unknown."
    return None


def _hidden(pending: Pending, browser: str) -> dict[str, str]:
    return {"request": pending.id, "csrf": csrf_token(browser, pending.id)}


def _genuine(browser: str, pending: Pending, fields: dict[str, str]) -> bool:
    return compare_digest(fields.get("csrf", "").encode(), csrf_token(browser, pending.id).encode())
