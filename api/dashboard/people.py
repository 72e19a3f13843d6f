"""The names of people, by their ids, for pages that know only who it was."""

from dataclasses import dataclass
from typing import Any

from api.dashboard.visitor import Visitor
from api.tenants import service as tenants


@dataclass(frozen=True, slots=True)
class Names:
    """What members are called. unknown: what is said of somebody who is not among those that the reader may see."""

    known: dict[str, str]
    unknown: str

    def of(self, user_id: Any) -> str:
        return self.known.get(str(user_id), self.unknown)


async def names(who: Visitor) -> Names:
    """The members' names, as far as the reader may see them; the reader is `you`."""
    me = {str(who.user_id): "you"}
    if not who.may("members.read"):
        return Names(me, "another member")
    members = await tenants.list_members(who.principal)
    told = {str(each["user_id"]): each["name"] or each["email"] or "somebody" for each in members}
    return Names(told | me, "somebody who has left")
