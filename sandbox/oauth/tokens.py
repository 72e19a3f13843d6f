"""What the client's backend calls: token, revocation, introspection, and the server's metadata."""

import base64
import binascii
from hmac import compare_digest
from typing import Annotated, Any
from urllib.parse import unquote_plus

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse

from sandbox.oauth.grants import Grants, Issued, TokenError
from sandbox.oauth.setup import Registration, form_fields

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
Form = Annotated[list[tuple[str, str]], Depends(form_fields)]


class Backchannel:
    """Endpoints that authenticate the client by `client_secret_basic` or `client_secret_post`."""

    def __init__(self, registration: Registration, grants: Grants) -> None:
        self._at = registration
        self._grants = grants

    def router(self) -> APIRouter:
        """`/oauth/token`, `/oauth/revoke`, `/oauth/introspect`, `/.well-known/oauth-authorization-server`."""
        router = APIRouter()
        for path, operation, endpoint in (
            ("/oauth/token", "oauth.token", self.token),
            ("/oauth/revoke", "oauth.revoke", self.revoke),
            ("/oauth/introspect", "oauth.introspect", self.introspect),
        ):
            router.add_api_route(path, endpoint, methods=["POST"], operation_id=operation, response_model=None)
        router.add_api_route("/.well-known/oauth-authorization-server", self.metadata, methods=["GET"])
        return router

    def token(self, request: Request, form: Form) -> JSONResponse:
        """RFC 6749 sections 4.1.3 and 6; errors as in section 5.2."""
        try:
            fields = self._authenticate(request, form)
            issued = self._exchange(fields)
        except TokenError as error:
            return self._refusal(error)
        return JSONResponse(
            {
                "access_token": issued.access_token,
                "token_type": "Bearer",
                "expires_in": issued.expires_in,
                "refresh_token": issued.refresh_token,
                "scope": issued.scope,
            },
            headers=_NO_STORE,
        )

    def revoke(self, request: Request, form: Form) -> JSONResponse:
        """RFC 7009; 200 also for a token nobody knows."""
        try:
            fields = self._authenticate(request, form)
            self._grants.revoke(client_id=self._at.client_id, token=_need(fields, "token"))
        except TokenError as error:
            return self._refusal(error)
        return JSONResponse({}, headers=_NO_STORE)

    def introspect(self, request: Request, form: Form) -> JSONResponse:
        """RFC 7662; `{"active": false}` and nothing more for a token that is not live."""
        try:
            fields = self._authenticate(request, form)
            token = self._grants.live(_need(fields, "token"))
        except TokenError as error:
            return self._refusal(error)
        if token is None or token.client_id != self._at.client_id:
            return JSONResponse({"active": False}, headers=_NO_STORE)
        return JSONResponse(
            {
                "active": True,
                "iss": self._at.issuer,
                "sub": token.username,
                "client_id": token.client_id,
                "scope": " ".join(sorted(token.scopes)),
                "token_type": "Bearer" if token.kind == "access" else "refresh_token",
                "iat": token.issued_at,
                "exp": token.expires_at,
            },
            headers=_NO_STORE,
        )

    def metadata(self) -> dict[str, Any]:
        """RFC 8414 section 2."""
        issuer = self._at.issuer
        methods = ["client_secret_basic", "client_secret_post"]
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/oauth/authorize",
            "token_endpoint": f"{issuer}/oauth/token",
            "revocation_endpoint": f"{issuer}/oauth/revoke",
            "introspection_endpoint": f"{issuer}/oauth/introspect",
            "scopes_supported": list(self._at.scopes),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_methods_supported": methods,
            "introspection_endpoint_auth_methods_supported": methods,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def _exchange(self, fields: dict[str, str]) -> Issued:
        grant_type = _need(fields, "grant_type")
        if grant_type == "authorization_code":
            return self._grants.redeem_code(
                client_id=self._at.client_id,
                code=_need(fields, "code"),
                redirect_uri=_need(fields, "redirect_uri"),
                verifier=_need(fields, "code_verifier"),
            )
        if grant_type == "refresh_token":
            return self._grants.refresh(
                client_id=self._at.client_id,
                refresh_token=_need(fields, "refresh_token"),
                scope=fields.get("scope"),
            )
        raise TokenError("unsupported_grant_type", "Only authorization_code and refresh_token are offered.")

    def _authenticate(self, request: Request, form: list[tuple[str, str]]) -> dict[str, str]:
        """The form's fields, once the client is known to be ours (RFC 6749 section 2.3.1)."""
        fields = dict(form)
        if len(fields) != len(form):
            raise TokenError("invalid_request", "A parameter is given more than once.")
        header = request.headers.get("authorization")
        if header is not None and "client_secret" in fields:
            raise TokenError("invalid_request", "The client authenticates in two ways at once.")
        if header is not None:
            client_id, secret = _basic(header)
        else:
            client_id, secret = fields.get("client_id", ""), fields.get("client_secret", "")
        known = compare_digest(client_id.encode(), self._at.client_id.encode())
        right = compare_digest(secret.encode(), self._at.client_secret.encode())
        if not (known and right) or fields.get("client_id", client_id) != client_id:
            raise TokenError("invalid_client", "The client could not be authenticated.")
        return fields

    def _refusal(self, error: TokenError) -> JSONResponse:
        headers = dict(_NO_STORE)
        status = 400
        if error.code == "invalid_client":
            status = 401
            headers["WWW-Authenticate"] = f'Basic realm="sandbox {self._at.name}"'
        body = {"error": error.code, "error_description": error.description}
        return JSONResponse(body, status_code=status, headers=headers)


def _need(fields: dict[str, str], name: str) -> str:
    value = fields.get(name, "")
    if not value:
        raise TokenError("invalid_request", f"The parameter {name} is missing.")
    return value


def _basic(header: str) -> tuple[str, str]:
    """The credentials of a Basic header, each form-encoded before joining (RFC 6749 section 2.3.1)."""
    kind, _, encoded = header.partition(" ")
    try:
        client_id, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        client_id = secret = ""
    if kind.lower() != "basic":
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)
