"""Which characters a regular expression lets through: what a manifest may rely on when it puts a value into an address
or a query. Whatever it does not understand lets everything through."""

import re
from functools import lru_cache

_TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:[:=!]|<[=!]|P<\w+>)|[()|^$*+?]|\{[0-9]*,?[0-9]*\}\??|.", re.DOTALL
)
_STRUCTURE = re.compile(r"\(\?.*|[()|^$*+?]|\{[0-9]*,?[0-9]*\}\??")
#: The characters that are looked at, with some that stand for the rest of Unicode.
_ALL = frozenset(map(chr, range(256))) | frozenset("\u0131\u2028\u2029\u3002\uff0e\uff0f\U0001f600")
#: What may stand in the host of an address.
HOST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
#: What could end a quoted text or a line, or begin an escape, in any language that a provider reads.
BREAKING = frozenset("\"'`\\\u2028\u2029") | frozenset(map(chr, [*range(32), *range(127, 160)]))


@lru_cache(maxsize=512)
def characters(pattern: str) -> frozenset[str]:
    """Every character, of those that are looked at, that may stand somewhere in a matching text."""
    found: set[str] = set()
    for token in _TOKEN.findall(pattern):
        if _STRUCTURE.fullmatch(token):
            continue
        try:
            found |= {character for character in _ALL if re.fullmatch(token, character)}
        except re.error:
            return _ALL
    return frozenset(found)


def is_anchored(pattern: str) -> bool:
    """Whether the pattern speaks of whole texts: ^...$, and no alternative that escapes that."""
    tokens = _TOKEN.findall(pattern)
    depth = 0
    for part in tokens:
        depth += part.startswith("(") - (part == ")")
        if part == "|" and depth == 0:
            return False
    return len(tokens) > 1 and tokens[0] == "^" and tokens[-1] == "$"


def pins_address(pattern: str) -> bool:
    """Whether what matches is an https address of one domain, the last two labels of which are written out."""
    domain = re.fullmatch(r"\^https:(?:/|\\/){2}(.*?)((?:\\\.[a-z0-9-]+){2,})\$", pattern)
    return domain is not None and is_anchored(pattern) and characters(domain[1]) <= HOST
