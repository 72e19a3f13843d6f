"""The route class of every page: turns refusals into pages, keeps the session's cookie, and says what a page may do."""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

import psycopg
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from psycopg_pool import PoolTimeout

from api.dashboard import session
from api.dashboard.identity import SESSION_ENDED
from api.dashboard.pages import error_page
from api.dashboard.visitor import SignInNeededError, TenantNeededError
from api.errors import Problem, crashed, from_database

#: What a page may load, and from where: our own origin, and nothing that is written into the page itself. A QR code is
#: the one picture that is not a file.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # Not `no-referrer`: with that a browser hides the origin of our own forms, too.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}


class PageRoute(APIRoute):
    """A route whose answers are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            response = await _answered(inner, request)
            if hasattr(request.state, "session"):
                session.write(response, request.state.session)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return handle


async def _answered(inner: Callable[[Request], Coroutine[Any, Any, Response]], request: Request) -> Response:
    try:
        return await inner(request)
    except SignInNeededError:
        return _to_sign_in(request)
    except TenantNeededError:
        return to("/tenants")
    except RequestValidationError:
        return await error_page(request, _nowhere())
    except Exception as error:
        try:
            problem = problem_of(error)
            if problem.code == SESSION_ENDED:
                return _to_sign_in(request)
            return await error_page(request, problem)
        except Exception:
            return await _crashed(request, error)


def _to_sign_in(request: Request) -> Response:
    # A form that another site sends comes without the cookie; that must not sign anybody out.
    if session.cookie_name() in request.cookies:
        request.state.session = None
    return to(f"/sign-in?next={quote(_wanted(request), safe='')}")


def problem_of(error: Exception) -> Problem:
    """The problem that an error of a service stands for. Raises the error again when it is none that is known."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, PoolTimeout):
        return Problem(503, "database_unavailable", "The database did not answer in time. Try again in a moment.")
    if isinstance(error, psycopg.Error):
        return from_database(error)
    raise error


def _nowhere() -> Problem:
    return Problem(422, "invalid_address", "There is no such page, or not with these filters.")


async def _crashed(request: Request, error: Exception) -> Response:
    return await error_page(request, crashed(request, error))


def _wanted(request: Request) -> str:
    """The page to come back to after the sign-in: what was being read, never a form that was being sent."""
    if request.method != "GET":
        return "/"
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{request.url.path}{query}"[:500]


def to(path: str) -> RedirectResponse:
    """On to another page of ours, with GET (RFC 9110 section 15.4.4)."""
    return RedirectResponse(path, status_code=303)


def inside(path: str) -> str:
    """A path of our own that is safe to go on to; `/` for anything else, such as another site's address."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isascii() and path.isprintable()
    return path if plain and "\\" not in path else "/"


def page_router() -> APIRouter:
    """A router of pages; they are no part of the API's description."""
    return APIRouter(include_in_schema=False, route_class=PageRoute)
