"""Values of JSON as what they say: numbers that are equal are the same, however they are written."""

import math
import re
from decimal import Decimal
from typing import Any

#: A number in a text. Without an exponent and of so many digits, what it costs to compare is bounded.
_DECIMAL = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")


def equal(one: Any, other: Any) -> bool:
    """Whether two values of JSON say the same: 275 is 275.0, and neither "275" nor, of 1, true."""
    pairs = [(one, other)]
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            pairs += [(a[name], b[name]) for name in a]
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pairs += zip(a, b, strict=True)
        elif a != b or (type(a) is not type(b) and not (_is_number(a) and _is_number(b))):
            return False
    return True


def decimal(value: Any) -> Decimal | None:
    """The number that a value says exactly: of an int, of a float by its shortest text, of a text like `25000.50`.

    None for anything else: a truth value, what is not finite, a text with an exponent or of more than 30 digits.
    """
    if isinstance(value, str):
        return Decimal(value) if _DECIMAL.fullmatch(value) else None
    if not _is_number(value) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
