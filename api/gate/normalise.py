"""What people write and what is compared: each value has one key, and looks like one skeleton.

Two values are the same when their keys are. Two that are not the same and look alike have one skeleton, or skeletons
that differ by one character: of those a person is warned. Every function raises ValueError with a sentence for people.
"""

import re
import unicodedata

#: What is read as something else, in the order in which it is replaced. Both sides of a comparison go through it, so
#: that it need not say which of the two is meant.
_LOOKS = (("rn", "m"), ("vv", "w"), ("0", "o"), ("1", "l"), ("i", "l"), ("5", "s"))

#: Dot-atom of RFC 5322, section 3.2.3.
_LOCAL = re.compile(r"(?=.{1,64}$)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


def iban(text: str) -> str:
    """An IBAN in electronic form. Checks length, structure and check digits (ISO 13616)."""
    from stdnum import iban as ibans
    from stdnum.exceptions import ValidationError

    try:
        # What a country's own check digits say is the bank's to know: not every bank keeps to them.
        return str(ibans.validate(text, check_country=False))
    except ValidationError:
        raise ValueError("this is no IBAN: its length or its check digits are wrong") from None


def routing_number(text: str) -> str:
    """An ABA routing transit number of a bank in the United States, with its check digit."""
    from stdnum.exceptions import ValidationError
    from stdnum.us import rtn

    try:
        return str(rtn.validate(text))
    except ValidationError:
        raise ValueError("this is no routing number: it has nine digits, and the last one checks the others") from None


def bic(text: str) -> str:
    """A Business Identifier Code (ISO 9362)."""
    from stdnum import bic as bics
    from stdnum.exceptions import ValidationError

    try:
        return str(bics.validate(text))
    except ValidationError:
        raise ValueError("this is no BIC: it has 8 or 11 characters") from None


def number(text: str) -> str:
    """An account number as digits, capitals and hyphens, without spaces."""
    found = re.sub(r"\s", "", text).upper()
    if not re.fullmatch(r"[0-9A-Z-]{1,34}", found):
        raise ValueError("an account number has digits, letters and hyphens, 34 at most")
    return found


def email(text: str) -> str:
    """An address in lower case (RFC 5321, without quoted local parts), its domain as it goes over the wire (IDNA)."""
    local, at, host = text.strip().rpartition("@")
    if not at or not _LOCAL.fullmatch(local):
        raise ValueError("this is no e-mail address")
    return f"{local.lower()}@{domain(host)}"


def domain(text: str) -> str:
    """A domain's name as it goes over the wire (IDNA, UTS 46), in lower case and without a final dot."""
    import idna

    try:
        found = idna.encode(text.strip().rstrip(".").lower(), uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise ValueError("this is no domain name") from None
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", found):
        raise ValueError("this is no domain name: example.com, without a path")
    return found


def phone(text: str) -> str:
    """A telephone number in the international form of E.164."""
    found = re.sub(r"[\s().\-/]", "", text)
    if found.startswith("00"):
        found = f"+{found[2:]}"
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", found):
        raise ValueError("write the number with its country code: +49 30 901820")
    return found


def words(text: str) -> str:
    """A name or an address as names are compared: case, width and spacing make no difference."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def looks(text: str) -> str:
    """The skeleton of a name: letters and digits only, each as the plainest one that it could be taken for."""
    return _fold("".join(_plain(c) for c in unicodedata.normalize("NFKD", text)))


def looks_of_domain(name: str) -> str:
    """The skeleton of a domain, which keeps its dots."""
    import idna

    try:
        shown = idna.decode(name)
    except (idna.IDNAError, UnicodeError):
        shown = name
    return ".".join(looks(label) for label in shown.split("."))


def alike(one: str, other: str) -> bool:
    """Whether two skeletons differ by one character: another, one more, one less, or two that changed places."""
    if abs(len(one) - len(other)) > 1 or min(len(one), len(other)) < 4:
        return one == other
    start = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    a, b = one[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def _plain(character: str) -> str:
    """The Latin letter or digit that a character could be taken for (Unicode's table of confusables), or nothing."""
    if character.isascii():
        return character
    if unicodedata.combining(character):
        return ""
    from confusable_homoglyphs import confusables

    found = confusables.is_confusable(character, greedy=True, preferred_aliases=[])
    likenesses = [h["c"] for f in found or [] for h in f["homoglyphs"] if h["c"].isascii() and h["c"].isalnum()]
    return str(min(likenesses)) if likenesses else character


def _fold(text: str) -> str:
    folded = "".join(c for c in text.casefold() if c.isalnum())
    for seen, taken_for in _LOOKS:
        folded = folded.replace(seen, taken_for)
    return folded
