# ruff: noqa: E501 - one format a line
"""A labelled sample: values of every kind in many formats and sentences, and texts that look alike and hold none.

Made from a seed, so that it is the same everywhere; tests/corpus/privacy adds what was written by hand.
"""

import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from api.gate.detectors import Kind
from api.gate.sensitive import LENGTHS, luhn
from scripts.detectors.national import NATIONAL

FOLDER = Path(__file__).parents[2] / "tests/corpus/privacy"
EACH = 60
#: Sentences that call a value by name, and those that do not.
_CALLED: dict[Kind, tuple[str, ...]] = {
    "email": ("E-mail: {}", "write to {} today", "{} asked for it", "from <{}>", "cc {}, please", "({})"),
    "phone": ("Phone: {}", "call {} before noon", "Tel. {}", "my mobile is {}", "Fax {}", "reach me at {}."),
    "iban": ("IBAN {}", "pay to {} by Friday", "account {}.", "{}", "Überweisung auf {}, danke", "to:{};"),
    "card": ("card {}", "paid with {} yesterday", "Visa {} exp 12/27", "{}", "charge {} please", "Karte: {}"),
    "national_id": ("{}",),
    "ip": ("from {}", "host {} is down", "[{}]", "client={}", "{} - - GET /", "ping {}, please"),
    "url": ("see {}", "{} is new", "({})", "open {}.", '<a href="{}">', "docs: {}"),
    "credential": ("{}", "use {} for it", "key is in here: {}", '"{}"', "x={}", "{} (rotate it)"),
}
_WORDS = ("ada", "grace", "linus", "mo", "kim", "jo", "anna", "piet", "olive", "amara", "noor", "sven", "lena", "tom")
_HOSTS = ("example.com", "acme.example", "mail.example.org", "shop.example.co.uk", "bücher.example", "x.example.museum")


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, and the one value in it that is to be found, if any. name: of the field that it is in."""

    text: str
    kind: Kind | None = None
    value: str = ""
    name: str = ""


def generated(seed: int = 20261128) -> list[Sample]:
    """EACH positives of each kind, and as many texts without any value as there are positives."""
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    found = [_positive(chance, kind, number) for kind in _CALLED for number in range(EACH)]
    return found + [Sample(_negative(chance)) for _ in found]


def written(name: str) -> Iterator[Sample]:
    """Those of a file that were written by hand: `kind|value|text`, or a text alone that holds nothing."""
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        if not line or (line.startswith("#") and "|" in line):
            continue
        kind, _, rest = line.partition("|") if "|" in line else ("none", "", f"|{line}")
        value, _, text = rest.partition("|")
        yield Sample(text) if kind == "none" else Sample(text, next(k for k in _CALLED if k == kind), value)


def _positive(chance: random.Random, kind: Kind, number: int) -> Sample:
    if kind == "national_id":
        make, said, name = NATIONAL[number % len(NATIONAL)]
        value = make(chance)
        return Sample(value, kind, value, name) if chance.random() < 0.3 else Sample(said.format(value), kind, value)
    value = _MAKERS[kind](chance)
    said = chance.choice(_CALLED[kind]).format(value)
    return Sample(said, kind, value)


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.digits, k=count))


def _email(chance: random.Random) -> str:
    one, other = chance.sample(_WORDS, 2)
    local = chance.choice(
        [one, f"{one}.{other}", f"{one}_{other}", f"{one}+{other}", f"{one}{chance.randint(1, 99)}", f"{one}-{other}"]
    )
    address = f"{local}@{chance.choice(_HOSTS)}"
    return chance.choice([address, address, address.upper(), address.replace("@", "(at)"), address.replace("@", "%40")])


def _phone(chance: random.Random) -> str:
    d = chance.choice
    a, b = _digits(chance, 4), _digits(chance, 4)
    return d([
        f"+49 30 {chance.randint(2, 9)}{a}{b[:3]}", f"+44 20 7{a[:3]} {b}", f"+1 {chance.randint(201, 989)} {chance.randint(200, 999)} {a}",
        f"+31 6 {chance.randint(1, 9)}{a}{b[:3]}", f"+33 {chance.randint(1, 9)} {a[:2]} {a[2:]} {b[:2]} {b[2:]}", f"+49 (0)30 {chance.randint(2, 9)}{a}{b[:2]}",
        f"({chance.randint(201, 989)}) {chance.randint(200, 999)}-{a}", f"{chance.randint(201, 989)}-{chance.randint(200, 999)}-{a}",
        f"0{chance.randint(1, 9)} {a[:2]} {a[2:]} {b[:2]} {b[2:]}", f"030/{chance.randint(2, 9)}{a}{b[:2]}", f"020 7{a[:3]} {b}", f"0171-{chance.randint(2, 9)}{a}{b[:2]}",
        f"0049 30 {chance.randint(2, 9)}{a}{b[:2]}", f"+46-8-{chance.randint(2, 9)}{a[:2]} {b[:2]} {b[2:]}", f"+4179{chance.randint(2, 9)}{a}{b[:2]}",
    ])  # fmt: skip


def _iban(chance: random.Random) -> str:
    country, length = chance.choice(sorted(LENGTHS.items()))
    lettered = country in ("GB", "NL", "MT", "IE", "BG", "RO", "LV")
    bban = "".join(chance.choices(string.ascii_uppercase, k=4)) if lettered else ""
    bban += _digits(chance, length - 4 - len(bban))
    check = 98 - int("".join(str(int(c, 36)) for c in f"{bban}{country}00")) % 97
    iban = f"{country}{check:02}{bban}"
    groups = [iban[at : at + 4] for at in range(0, len(iban), 4)]
    return chance.choice([iban, iban, " ".join(groups), "-".join(groups), iban.lower(), "\u00a0".join(groups)])


def _card(chance: random.Random) -> str:
    prefix, length = chance.choice(
        [("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("37", 15), ("6011", 16), ("3530", 16), ("4", 13), ("36", 14)]
    )
    while True:
        start = prefix + _digits(chance, length - len(prefix) - 1)
        number = next(start + digit for digit in string.digits if luhn(start + digit))
        if len(set(number)) > 3:
            break
    if length == 13:  # old ones, which nobody prints in groups any more
        return number
    cuts = (4, 10, 15) if length == 15 else (4, 10, 14) if length == 14 else (4, 8, 12, length)
    groups = [number[a:b] for a, b in zip((0, *cuts), cuts, strict=False)]
    return chance.choice([number, " ".join(groups), "-".join(groups), " ".join(groups)])


def _ip(chance: random.Random) -> str:
    byte = [str(chance.randint(1, 254)) for _ in range(4)]
    word = [f"{chance.randint(1, 65535):x}" for _ in range(8)]
    return chance.choice(
        [
            ".".join(byte),
            ".".join(byte),
            ":".join(word),
            f"{word[0]}:{word[1]}::{word[2]}",
            f"2001:db8::{word[3]}:{word[4]}",
        ]
    )


def _url(chance: random.Random) -> str:
    path = "/".join(chance.sample(_WORDS, chance.randint(1, 3)))
    host = chance.choice(_HOSTS)
    return chance.choice(
        [
            f"https://{host}/{path}",
            f"http://{host}:8080/{path}?id={chance.randint(1, 999)}",
            f"www.{host}/{path}",
            f"https://{host}/{path}#top",
        ]
    )


def _credential(chance: random.Random) -> str:
    def some(count: int, letters: str = string.ascii_letters + string.digits) -> str:
        return "".join(chance.choices(letters, k=count - 2)) + "a1"

    hexadecimal = "0123456789abcdef"
    return chance.choice([
        f"sk_live_{some(24)}", f"ghp_{some(36)}", f"AKIA{some(18, string.ascii_uppercase).upper()[:16]}", f"xoxb-{_digits(chance, 12)}-{some(16)}",
        f"glpat-{some(20)}", f"AIza{some(35)}", f"sk-ant-{some(40)}", f"cs_live_{some(32, hexadecimal)}_{some(43)}",
        f"eyJ{some(20)}.eyJ{some(30)}.{some(40)}", f"Bearer {some(32)}", f"postgres://app:{some(12)}@", f"npm_{some(36)}",
        f"SG.{some(22)}.{some(43)}", f"whsec_{some(32)}", f"-----BEGIN PRIVATE KEY-----\n{some(64)}\n-----END PRIVATE KEY-----",
    ])  # fmt: skip


_MAKERS: dict[Kind, Callable[[random.Random], str]] = {
    "email": _email, "phone": _phone, "iban": _iban, "card": _card, "ip": _ip, "url": _url, "credential": _credential,
}  # fmt: skip


def _negative(chance: random.Random) -> str:
    def number(count: int) -> str:
        return str(chance.randint(1, 9)) + _digits(chance, count - 1)

    hexadecimal = "".join(chance.choices("0123456789abcdef", k=40))
    day = f"{chance.randint(1, 28):02}", f"{chance.randint(1, 12):02}", f"{chance.randint(1990, 2030)}"
    return chance.choice([
        f"order {number(9)}", f"Order no. {number(12)}", f"order #{number(16)}", f"INV-{day[2]}-{number(6)}", f"invoice {number(8)}",
        f"Rechnung {number(10)} vom {'.'.join(day)}", f"ref: {number(11)}", f"tracking {number(12)}", f"Tracking no. {number(20)}",
        f"on {'.'.join(day)} at 14:30", f"{'/'.join(day)} {chance.randint(10, 23)}:15", "-".join(reversed(day)), f"commit {hexadecimal}",
        f"sha256:{hexadecimal}{hexadecimal[:24]}", f"v{chance.randint(1, 20)}.{chance.randint(0, 30)}.{chance.randint(0, 9)}.{chance.randint(0, 9)}",
        f"version {chance.randint(1, 20)}.{chance.randint(0, 30)}.{chance.randint(0, 9)}", f"{number(3)},{number(3)}.{number(2)} EUR",
        f"EUR {number(1)}.{number(3)}.{number(3)},{number(2)}", f"{hexadecimal[:8]}-{hexadecimal[8:12]}-4{hexadecimal[13:16]}-a{hexadecimal[17:20]}-{hexadecimal[20:32]}",
        f"{number(6)} rows in {number(4)} ms", f"SKU {number(4)}-{number(4)}", f"ISBN 978-{number(1)}-{number(2)}-{number(6)}-{number(1)}",
        f"epoch {number(10)}", f"customer {number(9)} has {number(2)} orders", f"shipment 1Z{number(3)}AA{number(10)}", f"{number(2)} x {number(3)} mm",
        f"lot {number(5)}-{number(3)}", f"batch {number(13)}", f"ticket {number(7)}", f"id {number(9)}", f"bill_{number(4)}", f"{number(5)} {chance.choice(_WORDS)}",
        f"session {hexadecimal[:24]}", f"meter {number(8)}", f"PO {number(10)}", f"{chance.choice(_WORDS)}@{chance.randint(1, 9)}.0.1",
    ])  # fmt: skip
