"""The names of people and service accounts, by their ids, for pages that know only who it was."""

from api.dashboard.visitor import Visitor
from api.tenants import service as tenants


async def names(who: Visitor) -> dict[str, str]:
    """What members are called, by their ids; the reader is `you`. Empty where the role may not see members.

    Who is not in it has left, or is no person: show them as `somebody who has left`.
    """
    found: dict[str, str] = {}
    if who.may("members.read"):
        for each in await tenants.list_members(who.principal):
            found[str(each["user_id"])] = each["name"] or each["email"] or "somebody"
    return found | {str(who.user_id): "you"}
