"""The body of a provider's answer: never more of it is held than may be read, whatever it would unpack to."""

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

#: The one packing that is asked for. httpx unpacks whole chunks, also what is packed twice: 800 bytes become 400 MB.
ACCEPTED = "gzip"
_PACKED = {"gzip", "x-gzip", "deflate"}
#: Takes the headers of gzip (RFC 1952) and zlib (RFC 1950).
_EITHER = 32 + zlib.MAX_WBITS


async def content_of(answer: "httpx.Response", most: int) -> bytes | None:
    """The unpacked body; None when it is larger than `most` bytes, or packed in another way than was asked for.

    Raises what httpx raises while it reads.
    """
    packing = answer.headers.get("content-encoding", "").strip().lower() or "identity"
    if packing != "identity" and packing not in _PACKED:
        return None
    unpack = None if packing == "identity" else zlib.decompressobj(wbits=_EITHER)
    content = bytearray()
    try:
        async for chunk in answer.aiter_raw():
            content += chunk if unpack is None else unpack.decompress(chunk, most + 1 - len(content))
            if len(content) > most:
                return None
    except zlib.error:
        return None
    return bytes(content)
