"""The authorization server's HTML: sign-in, consent and errors. No script, no outside resource."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:30rem;margin:4rem auto;padding:0 1rem;color:#1b1f24}"
    "h1{font-size:1.4rem}label{display:block;margin:.6rem 0}input:not([type=checkbox]){display:block;"
    "width:100%;box-sizing:border-box;padding:.5rem;font:inherit}button{font:inherit;padding:.5rem 1.2rem;"
    "margin:1rem .5rem 0 0}[role=alert]{color:#a40e26}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def sign_in(
    *, server_title: str, client_name: str, hidden: Mapping[str, str], problem: str | None = None
) -> HTMLResponse:
    """The form that asks for username and password; 401 when it comes back with a `problem`."""
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    body = (
        f"<h1>Sign in to {escape(server_title)}</h1>"
        f"<p>{escape(client_name)} asks for access to your account.</p>{alert}"
        f'<form method="post" action="/oauth/sign-in">{_hidden(hidden)}'
        '<label>Username <input name="username" autocomplete="username" required maxlength="100"></label>'
        '<label>Password <input name="password" type="password" autocomplete="current-password"'
        ' required maxlength="200"></label><button>Sign in</button></form>'
    )
    return _page(f"Sign in to {server_title}", body, 401 if problem else 200)


def consent(
    *,
    server_title: str,
    client_name: str,
    person_name: str,
    redirect_uri: str,
    scopes: Mapping[str, str],
    hidden: Mapping[str, str],
) -> HTMLResponse:
    """The form that names the client and, in plain words, each scope it asks for."""
    boxes = "".join(
        f'<label><input type="checkbox" name="scope" value="{escape(scope)}" checked> {escape(words)}</label>'
        for scope, words in scopes.items()
    )
    body = (
        f"<h1>{escape(client_name)} asks for access</h1>"
        f"<p>You are signed in to {escape(server_title)} as {escape(person_name)}."
        f" You will be sent back to {escape(_origin(redirect_uri))}. It wants to:</p>"
        f'<form method="post" action="/oauth/consent">{_hidden(hidden)}{boxes}'
        '<button name="decision" value="allow">Allow</button>'
        '<button name="decision" value="deny">Deny</button></form>'
    )
    # Browsers hold `form-action` against the redirect that answers the form too, so it names the client.
    return _page(f"{client_name} asks for access", body, 200, form_action=f"'self' {_origin(redirect_uri)}")


def failure(*, server_title: str, message: str, status: int) -> HTMLResponse:
    """A page for errors that must not be sent to a redirect URI (RFC 6749 section 4.1.2.1)."""
    body = f'<h1>{escape(server_title)}</h1><p role="alert">{escape(message)}</p>'
    return _page(server_title, body, status)


def _hidden(fields: Mapping[str, str]) -> str:
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
    )


def _origin(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def _page(title: str, body: str, status: int, form_action: str = "'self'") -> HTMLResponse:
    document = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {form_action};"
            " base-uri 'none'; frame-ancestors 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    return HTMLResponse(document, status_code=status, headers=headers)
