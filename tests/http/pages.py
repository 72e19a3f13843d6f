"""Every page of the dashboard, read from the application, and what a browser of ours sees of an answer.

So a new page is asked the questions of test_page_security.py without being named there.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Literal, get_args, get_origin

import httpx
import pytest
from fastapi import Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from api.config import settings
from api.dashboard import forms, session, visitor
from api.dashboard.routing import PageRoute
from api.dashboard.session import Session
from api.index import app
from sandbox.organisation import Member
from tests.http.world import World

#: Parameters that choose among words of ours name nothing of a tenant's; neither does a provider.
WORDS = {"provider": "sandbox_bank"}
#: What is done to the thing that a path names, where its form takes any word and refuses those that it does not know.
STEPS = {
    "/settings/channels/{channel_id}/{step}": "disable",
    "/settings/webhooks/{trigger_id}/{step}": "revoke",
    "/team/invitations/{invitation_id}/{step}": "withdraw",
    "/team/members/{user_id}/{step}": "remove",
    "/team/accounts/{account_id}/keys/{key_id}/{step}": "revoke",
}


@dataclass(frozen=True)
class PageOf:
    """One method of one page's path. `words`: its parameters that take one of a few words, with the first of them."""

    method: str
    path: str
    parameters: tuple[str, ...]
    words: dict[str, str]
    queries: tuple[str, ...]
    asks: frozenset[Callable[..., Any]]

    @property
    def open(self) -> bool:
        """Whether it asks for nobody's session."""
        return not self.asks & {visitor.person, visitor.visitor, forms.form}

    @property
    def named(self) -> tuple[str, ...]:
        """The parameters that name something of a tenant's."""
        return tuple(name for name in self.parameters if name not in self.words)

    def at(self, ids: dict[str, str]) -> str:
        """Its address for these ids."""
        return self.path.format_map(ids | self.words)


def pages() -> list[PageOf]:
    """Every page, and every form that pages send."""
    return [
        _page(method, str(context.path), context.original_route)
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, PageRoute)
        for method in sorted(context.methods or ())
    ]


def _page(method: str, path: str, route: PageRoute) -> PageOf:
    path = re.sub(r":[a-z]+}", "}", path)
    parameters = route.dependant.path_params
    words = WORDS | ({"step": STEPS[path]} if "{step}" in path else {})
    for each in parameters:
        annotation = each.field_info.annotation
        if get_origin(annotation) is Literal:
            words[each.name] = get_args(annotation)[0]
    names = tuple(each.name for each in parameters)
    queries = tuple(each.alias for part in _all(route.dependant) for each in part.query_params)
    asks = frozenset(part.call for part in _all(route.dependant) if part.call is not None)
    return PageOf(method, path, names, words, queries, asks)


def _all(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _all(each)


@contextmanager
def deployment(world: World, **changes: str) -> Iterator[None]:
    """Within, this process has the settings of the stack's API, but for the `changes`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (world.stack.environment() | changes).items():
            patch.setitem(os.environ, name, value)
        settings.cache_clear()
        yield
    settings.cache_clear()


def begun(member: Member, tenant_id: str | None = None) -> Session:
    """A session of a browser with the tokens that the person has, at aal2 when they have a factor."""
    return session.begun(member.access_token, member.refresh_token, tenant_id)


def cookie(world: World, of: Session, **changes: str) -> str:
    """What the API's browser keeps of a session; with `changes` of settings, what another deployment's does."""
    with deployment(world, **changes):
        answer = Response()
        session.write(answer, of)
        return answer.headers["set-cookie"].partition(";")[0].partition("=")[2]


@dataclass
class Seen(HTMLParser):
    """What is in a page. `tags`: every tag with its attributes; `inline`: the texts of scripts and styles."""

    html: str
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem and data.strip():
            self.inline.append(data)
        elif data.strip():
            self.texts.append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def value(self, name: str) -> str:
        """The value of the first field of this name. LookupError when there is none."""
        for attributes in self.all("input"):
            if attributes.get("name") == name:
                return attributes.get("value", "")
        raise LookupError(name)

    @property
    def main(self) -> list[str]:
        """The texts of the page, without the request's own name."""
        return [text for text in self.texts if not text.startswith("Request ")]


def seen(answer: httpx.Response) -> Seen:
    assert answer.headers["content-type"] == "text/html; charset=utf-8", answer.text[:200]
    return Seen(answer.text)
