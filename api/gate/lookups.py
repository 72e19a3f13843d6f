"""What of a proposal the directory is asked about.

A key says by what a counterparty is recognised: `account:iban:DE...`, `account:us:021000021/123`, `email:a@b.example`,
`domain:b.example`, `name:acme ltd`. The same functions make the keys that are asked and those that checks look up.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from api.gate import normalise
from api.gate.accounts import composites, key_of_text
from api.gate.grounding import keys
from api.gate.grounding.addresses import scan
from api.gate.pointer import leaves

#: Keys that one proposal is looked up by at most; what is beyond is not known, and so grounds nothing.
MAX_KEYS = 200
#: Values of one proposal that are looked at.
MAX_LEAVES = 2_000
_MAX_TEXT = 320
_ORDER = ("account", "email", "domain", "name")


def keys_of(args: dict[str, Any]) -> list[str]:
    """Every key under which anything in the arguments could be known, in a fixed order: accounts first, names last.

    Also of accounts whose code and number are two arguments, and of the addresses, accounts and links in texts.
    """
    found: dict[str, None] = dict.fromkeys(islice((account.key for account in composites(args)), MAX_KEYS // 4))
    for _, value in islice(leaves(args), MAX_LEAVES):
        if isinstance(value, str):
            found.update(dict.fromkeys((*keys_of_value(value), *keys_in_text(value))))
    return sorted(found, key=lambda key: _ORDER.index(key.partition(":")[0]))[:MAX_KEYS]


def keys_of_value(value: Any) -> list[str]:
    """The keys under which one whole value could be known, the most telling first; none for what is no short text."""
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_TEXT:
        return []
    account = key_of_text(value)
    known = None if account else keys.typed(value.strip())
    found = [account] if account else list(directory_keys([known, *(keys.url(value) or ())] if known else []))
    name = normalise.words(value)
    if len(name) <= 200 and any(c.isalpha() for c in name):
        found.append(f"name:{name}")
    return found


def keys_in_text(text: str) -> list[str]:
    """The keys of the addresses, accounts and links that stand in a text."""
    return list(directory_keys(key for address in scan(text) for key in address.keys))


def directory_keys(known: Iterable[str]) -> Iterator[str]:
    """The directory's keys for those of api/gate/grounding/keys.py; of an e-mail address its domain counts too."""
    for key in known:
        kind, _, value = key.partition(":")
        if kind in ("iban", "us"):
            yield f"account:{key}"
        elif kind == "email":
            yield key
            yield f"domain:{value.rpartition('@')[2]}"
        elif kind == "domain":
            yield key
            if value.startswith("www."):
                yield f"domain:{value.removeprefix('www.')}"
