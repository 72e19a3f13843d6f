"""What of a proposal the directory is asked about.

A key says by what a counterparty is recognised: `account:iban:DE...`, `account:us:021000021/123`, `email:a@b.example`,
`domain:b.example`, `name:acme ltd`. The same functions make the keys that are asked and those that checks look up.
"""

from itertools import islice
from typing import Any

from api.gate import normalise
from api.gate.accounts import composites, key_of_text
from api.gate.pointer import leaves

#: Keys that one proposal is looked up by at most; what is beyond is not known, and so grounds nothing.
MAX_KEYS = 200
_MAX_TEXT = 320


def keys_of(args: dict[str, Any]) -> list[str]:
    """Every key under which anything in the arguments could be known, in a fixed order."""
    found: dict[str, None] = dict.fromkeys(islice((account.key for account in composites(args)), MAX_KEYS // 4))
    for _, value in leaves(args):
        for key in keys_of_value(value):
            found[key] = None
            if len(found) >= MAX_KEYS:
                return list(found)
    return list(found)


def keys_of_value(value: Any) -> list[str]:
    """The keys under which one whole value could be known, the most telling first; none for what is no short text."""
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_TEXT:
        return []
    account = key_of_text(value)
    found = [account] if account else []
    for name, key in (("account:iban", normalise.iban), ("email", normalise.email), ("domain", normalise.domain)):
        try:
            found.append(f"{name}:{key(value)}")
        except ValueError:
            continue
    found += [f"domain:{key.rpartition('@')[2]}" for key in found if key.startswith("email:")]
    name = normalise.words(value)
    if len(name) <= 200 and any(c.isalpha() for c in name):
        found.append(f"name:{name}")
    return found
