"""What is sensitive by its form: credentials, numbers of payment cards, IBANs. Every search is linear in the text.

What is found is told by its kind and place and never quoted.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator

#: Characters of one text that are looked through; arguments that are larger are denied (checks/contract.py).
MAX_TEXT = 65_536

#: By kind: what a text holds, in lower case, if it holds one at all, which is quickly seen; and the pattern.
_CREDENTIALS: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (kind, tuple(marks.split()), re.compile(pattern))
    for kind, marks, pattern in (
        (
            "a private key",
            "-----begin putty-user-key",
            r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d",
        ),
        ("a key of this service", "cs_", r"(?<![A-Za-z0-9])cs_(?:sandbox|live)_[0-9a-f]{32}_"),
        ("an access key of AWS", "akia asia", r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
        (
            "a token of GitHub",
            "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
            r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22})",
        ),
        ("a token of GitLab", "glpat-", r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20}"),
        (
            "a token of Slack",
            "xox hooks.slack.com",
            r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10}|hooks\.slack\.com/services/T[A-Z0-9]{5}",
        ),
        (
            "a secret key of Stripe",
            "k_live_ k_test_ whsec_",
            r"(?<![A-Za-z0-9])(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9]{16}",
        ),
        (
            "a key of Google",
            "aiza gocspx- ya29.",
            r"(?<![A-Za-z0-9])(?:AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{20}|ya29\.[A-Za-z0-9_-]{20})",
        ),
        (
            "a key of a language model's provider",
            "sk-",
            r"(?<![A-Za-z0-9])sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32}",
        ),
        ("a token of HubSpot", "pat-", r"(?<![A-Za-z0-9])pat-(?:na|eu)\d-[0-9a-f]{8}-"),
        ("a key of SendGrid", "sg.", r"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16}"),
        ("a signed token", "eyj", r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,4000}\.eyJ[A-Za-z0-9_-]{5}"),
        (
            "a bearer token",
            "bearer",
            r"(?i:(?<![a-z])bearer)[ \t]{1,4}(?=[A-Za-z._~+/-]{0,100}\d)[A-Za-z0-9._~+/-]{20}",
        ),
        (
            "a basic authorization",
            "basic",
            r"(?i:(?<![a-z])basic)[ \t]{1,4}(?=[A-Za-z+/]{0,100}[A-Z0-9])[A-Za-z0-9+/]{15,}={0,2}(?![A-Za-z0-9+/])",
        ),
        (
            "a token of a package registry",
            "npm_ pypi-",
            r"(?<![A-Za-z0-9])(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{40})",
        ),
        (
            "a token of a hosting service",
            "hf_ dop_v1_ shpat_ sbp_ accountkey=",
            r"(?<![A-Za-z0-9])(?:hf_\w{30}|dop_v1_[0-9a-f]{64}|shpat_[0-9a-f]{32}|sbp_\w{40}|AccountKey=[\w+/]{40})",
        ),
        ("a password in an address", "://", r"[a-z][a-z0-9+.-]{1,15}://[^\s/:@]{1,100}:[^\s/:@]{3,200}@"),
    )
)
#: Words before a secret, and what follows them if it is one: it has a digit or a sign beside its letters.
_SAID = re.compile(
    r"(?<![a-z])(password|passwd|passphrase|passwort|kennwort|mot de passe|contraseña|api[ _-]?key|client[ _-]?secret|"
    r"secret[ _-]?key|access[ _-]?token|refresh[ _-]?token|private[ _-]?key)"
    r"\\{0,3}[\"']?[ \t]{0,3}(?:is|ist|est|[:=])[ \t]{0,3}\\{0,3}[\"']?"
    r"(?=[^\s\"']{0,60}\d)(?=[^\s\"']{0,60}[a-z])[^\s\"']{8}",
    re.IGNORECASE,
)
_UNTIL_SPACE = re.compile(r"[^\s\"'<>,;)}\]]{0,4000}")
_REST = re.compile(r"[A-Za-z0-9._~+/=-]{0,8000}")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,50}-----|Private-MAC: \S{1,100}")
_SAID_MARKS = ("pass", "kennwort", "contrase", "key", "secret", "token")
#: Members whose value is a secret, whatever it looks like.
_NAMES = re.compile(
    r"(?:.*[_-])?(?:passwords?|passwd|pwd|passphrase|(?:client|webhook|signing)[_-]?secret|secret[_-]?(?:access[_-]?)?key|"
    r"api[_-]?keys?|private[_-]?key|(?:access|refresh|auth|bearer)[_-]?token)|secret",
    re.IGNORECASE,
)
#: Where a word begins within a name, as in `dbPassword`.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Wherever one could begin: what stands before it may look like a part of it.
_CARD = re.compile(r"(?<![\dA-Za-z])(?=([2-6]\d(?:[ -]?\d){11,17}))")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9])")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_BLOB = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
#: What nobody sees in a text, and can be put between the characters of a secret.
UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)

#: Countries by the length of their IBANs (ISO 13616, SWIFT's registry).
_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
LENGTHS = {country: length for length, countries in _COUNTRIES.items() for country in countries.split()}


def credentials(text: str) -> list[str]:
    """The kinds of credentials in a text, in a fixed order; also where it is encoded, or broken by what is unseen."""
    if len(text) < 8:
        return []
    found = dict.fromkeys(_credentials(text))
    for reading in decoded(text):
        found |= dict.fromkeys(_credentials(reading))
    return list(found)


def spans(text: str) -> Iterator[tuple[str, int, int]]:
    """Every credential of a text as (kind, start, end), to its last character and in no particular order.

    The text is searched as it is; api/gate/detectors/reading.py takes out of it what nobody sees. What is in base64 or
    in hexadecimal digits is one where it says a credential.
    """
    lowered = text.lower()
    for kind, marks, pattern in _CREDENTIALS:
        if any(mark in lowered for mark in marks):
            for match in pattern.finditer(text):
                yield kind, match.start(), _last(text, kind, match)
    if any(mark in lowered for mark in _SAID_MARKS):
        for match in _SAID.finditer(text):
            rest = _UNTIL_SPACE.match(text, match.end())
            yield f"a value that is called {match[1].lower()}", match.end() - 8, rest.end() if rest else match.end()
    for blob in _BLOB.finditer(text):
        if len(blob[0]) >= 16 and any(any(_credentials(plain)) for raw in _raw(blob[0]) if (plain := _readable(raw))):
            yield "an encoded credential", blob.start(), blob.end()


def _last(text: str, kind: str, match: re.Match[str]) -> int:
    """Where a credential ends of which a pattern finds the beginning."""
    if kind == "a private key":
        ended = _KEY_ENDS.search(text, match.end())
        return ended.end() if ended else len(text)
    if kind == "a password in an address":
        return match.end()
    found = _REST.match(text, match.end())
    return found.end() if found else match.end()


def names_a_secret(name: str) -> bool:
    """Whether a member of this name holds a secret, whatever its value looks like."""
    return len(name) <= 80 and _NAMES.fullmatch(_HUMP.sub("_", shown(name)).strip()) is not None


def financial(text: str) -> list[str]:
    """`a card number` (by Luhn's check digit) and `an IBAN` (by its country's length and check digits), if there."""
    found = []
    plain = shown(text[:MAX_TEXT])
    if any(_is_card(match[1], plain[match.end(1) :][:1]) for match in _CARD.finditer(plain)):
        found.append("a card number")
    if any(_is_iban(plain, match.start()) for match in _IBAN.finditer(plain)):
        found.append("an IBAN")
    return found


def shown(text: str) -> str:
    """The text as it is seen: compatible characters in their plain form (NFKC), and none that are not seen."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", UNSEEN.sub("", text))


def decoded(text: str) -> Iterator[str]:
    """What a text says where it is percent-encoded, in base64 or in hexadecimal digits; one level deep."""
    text = text[:MAX_TEXT]
    if "%" in text:
        yield _PERCENT.sub(lambda run: bytes.fromhex(run[0].replace("%", "")).decode("utf-8", "replace"), text)
    said = []
    for blob in _BLOB.finditer(text):
        said += [plain for raw in _raw(blob[0]) if (plain := _readable(raw))]
    if said:
        yield "\n".join(said)


def _credentials(text: str) -> Iterator[str]:
    plain = shown(text[:MAX_TEXT])
    lowered = plain.lower()
    for kind, marks, pattern in _CREDENTIALS:
        if any(mark in lowered for mark in marks) and pattern.search(plain):
            yield kind
    if any(mark in lowered for mark in _SAID_MARKS) and (said := _SAID.search(plain)):
        yield f"a value that is called {said[1].lower()}"


def _is_card(text: str, following: str) -> bool:
    """Whether the text, or a beginning of it that a digit does not go on from, is a number of 13 to 19 digits."""
    for end in range(13, len(text) + 1):
        after = text[end : end + 1] or following
        if not after.isalnum():
            digits = "".join(filter(str.isdecimal, text[:end]))
            if 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits):
                return True
    return False


def luhn(digits: str) -> bool:
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(int(digit) for digit in digits[-1::-2])) % 10 == 0


def _is_iban(text: str, start: int) -> bool:
    length = LENGTHS.get(text[start : start + 2].upper())
    if length is None:
        return False
    # Groups of four, parted by one space or hyphen each.
    found = re.sub(r"[ -](?=[A-Za-z0-9])", "", text[start : start + 2 * length])[:length].upper()
    if len(found) < length or not (found.isascii() and found.isalnum()):
        return False
    return int("".join(str(int(c, 36)) for c in found[4:] + found[:4])) % 97 == 1


def _raw(blob: str) -> Iterator[bytes]:
    plain = blob.rstrip("=")
    if len(plain) % 2 == 0 and re.fullmatch(r"[0-9A-Fa-f]+", plain):
        yield bytes.fromhex(plain)
    if len(plain) % 4 != 1:
        try:
            yield base64.b64decode(plain.translate(_STANDARD) + "=" * (-len(plain) % 4), validate=True)
        except (binascii.Error, ValueError):
            return


_STANDARD = str.maketrans("-_", "+/")


def _readable(raw: bytes) -> str | None:
    """The text that bytes are; None where they are none, as those of a word that only looks like base64."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return text if text and sum(c.isprintable() or c.isspace() for c in text) >= 0.9 * len(text) else None
