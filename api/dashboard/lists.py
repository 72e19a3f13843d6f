"""Addresses of narrowed lists, and the names of tools as people know them."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from api.auth import Principal
from api.tools import service as tools
from api.workflows import service as workflows


def narrowed(path: str, given: Mapping[str, Any]) -> str:
    """The address of a list with those filters that have a value."""
    asked = {name: value for name, value in given.items() if value}
    return f"{path}?{urlencode(asked)}" if asked else path


async def titles_of(principal: Principal, names: Iterable[str]) -> dict[str, str]:
    """What each of these tools does, in words; a tool that is not known any more has its name."""
    wanted = set(names)
    known = await tools.contracts_of(principal, wanted)
    return {name: known[name].title if name in known else name for name in wanted}


async def slugs(principal: Principal) -> list[str]:
    """The workflows that a list can be narrowed to, by name."""
    return sorted({str(each["slug"]) for each in await workflows.list_workflows(principal)})
