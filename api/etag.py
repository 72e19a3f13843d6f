"""`ETag` and `If-Match` (RFC 9110 sections 8.8.3 and 13.1.1): nobody overwrites what he has not seen."""

import re
from typing import Annotated

from fastapi import Depends, Header, Response

from api.errors import Problem

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


async def require_match(
    if_match: Annotated[
        str | None, Header(max_length=1000, description="The ETag of what was read; `*` for whatever is there.")
    ] = None,
) -> list[str] | None:
    """The entity tags of which one must be the current one, without their quotes; None for `*`, which any is.

    A weak tag never matches (RFC 9110 section 13.1.1), so it is left out. Raises Problem 428 without the header, 400
    when it is malformed.
    """
    if if_match is None:
        raise Problem(428, "precondition_required", "Send If-Match with the ETag that you read.")
    if if_match.strip() == "*":
        return None
    tags = [tag.strip() for tag in if_match.split(",")]
    if not all(_TAG.fullmatch(tag) for tag in tags):
        raise Problem(400, "if_match_invalid", 'If-Match holds entity tags in double quotes, or "*".')
    return [tag[1:-1] for tag in tags if not tag.startswith("W/")]


IfMatch = Annotated[list[str] | None, Depends(require_match)]


def tagged(etag: str, response: Response) -> None:
    """Names the representation that is answered."""
    response.headers["ETag"] = f'"{etag}"'
