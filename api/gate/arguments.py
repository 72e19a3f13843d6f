"""The arguments of a proposal as JSON that reads the same before and after it was stored."""

import json
import math
from decimal import Decimal
from typing import Any

#: Levels of nesting; the same as a request body may have. Deeper values crash the expression engine.
MAX_DEPTH = 32
#: Characters of JSON that rules are evaluated on, and that a tool may be given.
MAX_SIZE = 65_536
#: Beyond it a double skips integers (RFC 8785 section 3.2.2.3).
MAX_INTEGER = 2**53 - 1


def canonical(value: Any, depth: int = 1) -> Any:
    """The value as it is read back from its RFC 8785 form: sorted members, and 5 where 5.0 was written.

    So a decision on what an agent sent and one on what was stored of it are made on the same thing. Raises
    ValueError for what that form cannot carry: NaN, infinities, integers that a double has no room for, text with half
    of a surrogate pair, other types than JSON's, more than MAX_DEPTH levels.
    """
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError is a ValueError
        return value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("a member whose name is not a text")
        return {canonical(name): canonical(value[name], depth + 1) for name in sorted(value)}
    if isinstance(value, list):
        return [canonical(item, depth + 1) for item in value]
    raise ValueError(f"{type(value).__name__} is not a type of JSON")


def _number(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    # A large double is stored with its shortest digits, then zeros; no other integer may be rounded to it.
    if not math.isfinite(number) or (number != value and Decimal(repr(number)) != value):
        raise ValueError("a number that a double cannot carry")
    return int(number) if number.is_integer() and abs(number) <= MAX_INTEGER else number


def size(value: Any) -> int:
    """How many characters of JSON the value is."""
    return len(json.dumps(value, ensure_ascii=False))
