"""What somebody is told who asks for an address that has no page: the page that a form's address belongs to, or none.

A verdict that was refused is shown at the address that the form was sent to, so people load that address again, keep it
or send it to others. Every such address leads to the nearest page above it.
"""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.dashboard import session, visitor
from api.dashboard.pages import page
from api.dashboard.routing import HEADERS, PageRoute, problem_of, to
from api.dashboard.visitor import Person, SignInNeededError, TenantNeededError
from api.errors import Problem


def install(app: FastAPI) -> None:
    """Answers with pages where a browser finds none. The API's own addresses keep their problem documents."""
    otherwise: Any = app.exception_handlers[HTTPException]

    async def handle(request: Request, error: Exception) -> Response:
        found = await _page_for(request, error)
        if found is None:
            document: Response = await otherwise(request, error)
            return document
        if hasattr(request.state, "session"):
            session.write(found, request.state.session)
        for name, value in HEADERS.items():
            found.headers.setdefault(name, value)
        return found

    app.add_exception_handler(HTTPException, handle)


async def _page_for(request: Request, error: Exception) -> Response | None:
    """None where a program asks, or somebody for something else than a page."""
    # What a service of ours refuses is a Problem. Anything else here is the router, which found no route.
    if isinstance(error, Problem) or not isinstance(error, HTTPException) or request.method != "GET":
        return None
    if error.status_code == 405 and _takes(request, request.url.path, "POST", Match.PARTIAL):
        return to(page_above(request))
    path = request.url.path
    asks_for_pages = "text/html" in request.headers.get("accept", "") and not f"{path}/".startswith("/v1/")
    if error.status_code == 404 and asks_for_pages:
        return page(await _who(request), "nowhere.html", request=request, status=404)
    return None


def page_above(request: Request) -> str:
    """The path of the nearest page above the one that was asked for; `/` when there is none."""
    parts = request.url.path.split("/")
    above = ("/".join(parts[:length]) for length in range(len(parts) - 1, 1, -1))
    return next((path for path in above if _takes(request, path, "GET", Match.FULL)), "/")


def _takes(request: Request, path: str, method: str, wanted: Match) -> bool:
    """Whether a page's route knows the path and has the method, which makes the request's a `wanted` match."""
    scope = {**request.scope, "path": path}
    return any(
        isinstance(route.original_route, PageRoute)
        and method in (route.methods or ())
        and route.matches(scope)[0] is wanted
        for route in iter_route_contexts(request.app.routes)
    )


async def _who(request: Request) -> Person | None:
    """Whoever is signed in, with their place in a tenant if they have one: the page shows them the menu."""
    try:
        return await visitor.visitor(request)
    except SignInNeededError:
        return None
    except TenantNeededError:
        return await visitor.person(request)
    except Exception as error:
        problem_of(error)  # raises what is nobody's refusal
        return None
