"""The numbers and amounts of money that a text writes, in the ways in which people write them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from api.gate.grounding.word_list import words as word_list
from api.gate.money import digits_of

#: Numbers of one text that are read.
MAX_NUMBERS = 1000

_NUMBER = re.compile(
    r"(?:(?<![\w.,@/#'\u2019])(?<!\w-)|(?<=(?<!\w)[A-Z]{3}))(?<!\d[ :])"
    r"(?:\d{1,3}(?:[.,'\u2019 \u00a0\u202f]\d{3})+(?:[.,]\d{1,2})?(?![\d.,]*\d)|\d{1,15}(?:[.,]\d{1,4})?)"
)
_UNIT = re.compile(r"[ \u00a0\u202f-]{0,2}(US\$|[€$£¥₹]|[^\W\d_]{2,9}(?!\w))")
_BEFORE = re.compile(r"(?:(?<!\w)([^\W\d_]{2,9})|(US\$|[€$£¥₹]))\.?[ \u00a0\u202f]?-?$")
_GLUED = re.compile(r"[\w@/]|[-.,:'\u2019]\d|-[^\W\d_]")
_SCALED = re.compile(r"[ \u00a0]?(k|K|tsd|thousand|tausend|mille|mil|mio|millions?|millionen)(?![^\W])|(k|K)(?=[€$£¥])")
_SCALED_MONEY = re.compile(r"[ \u00a0]?(k|K|m|M|mn|tsd|thousand|tausend|mille|mil|mio|millions?|millionen)(?![^\W])")
_WORD_BEFORE = re.compile(r"([^\W\d_]+)[\W_]{0,3}$")

_DOLLARS = frozenset(["USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN"])
_SIGNS: dict[str, frozenset[str]] = {
    "€": frozenset({"EUR"}), "$": _DOLLARS, "US$": frozenset({"USD"}), "£": frozenset({"GBP"}),
    "¥": frozenset({"JPY", "CNY"}), "₹": frozenset({"INR"}),
    "euro": frozenset({"EUR"}), "euros": frozenset({"EUR"}), "dollar": _DOLLARS, "dollars": _DOLLARS,
    "dólares": _DOLLARS, "bucks": _DOLLARS, "pound": frozenset({"GBP"}), "pounds": frozenset({"GBP"}),
    "quid": frozenset({"GBP"}), "franken": frozenset({"CHF"}), "francs": frozenset({"CHF", "XAF", "XOF"}),
    "yen": frozenset({"JPY"}), "kr": frozenset({"SEK", "NOK", "DKK"}), "rupees": frozenset({"INR"}),
}  # fmt: skip
_MINOR = {"cent", "cents", "ct", "cts", "pence", "penny", "rappen", "centimes", "centavos", "céntimos"}
#: ISO 4217, without those that are words in capitals as well.
_CODES = frozenset(
    word_list(
        """
    AED AFN AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
    COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR
    IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU
    MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
    SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV
    WST XAF XCD XOF XPF YER ZAR ZMW ZWG
    """
    )
)
#: What a number that follows is the name of, and not an amount.
_NAMING = frozenset(
    word_list(
        """
    invoice invoices bill order ticket case customer account contact deal id ids no nr num number numbers reference
    ref page version step item line section chapter room floor flat suite unit message file task issue request claim
    record row project user employee po quote q fy week day year iban card phone tel zip box rechnung bestellung
    auftrag konto kunde nummer fall seite facture commande client numéro factura pedido cliente número factuur klant
    jan feb mar apr may jun jul aug sep sept oct nov dec january february march april june july august september
    october november december januar februar märz mai juni juli oktober dezember
    """
    )
)
_FOLLOWED = frozenset(
    word_list(
        """
    jan feb mar apr may jun jul aug sep sept oct nov dec january february march april june july august september
    october november december januar februar märz mai juni juli oktober dezember am pm uhr days day hours hour
    minutes weeks week months month years year times people items percent prozent
    """
    )
)
_SCALES = {"k": 1000, "tsd": 1000, "thousand": 1000, "tausend": 1000, "mille": 1000, "mil": 1000}
_SPELLED = {
    word: number
    for number, words in enumerate(
        (
            "one ein eine einen un une uno una een", "two both zwei beide deux dos ambos twee",
            "three drei trois tres drie",
            "four vier quatre cuatro", "five fünf cinq cinco vijf", "six sechs seis zes",
            "seven sieben sept siete zeven",
            "eight acht huit ocho", "nine neun neuf nueve negen", "ten zehn dix diez tien", "eleven elf onze once",
            "twelve zwölf douze doce twaalf dozen",
        ),
        start=1,
    )
    for word in words.split()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """A number as it was written: its value in major units, and the currencies it may be in; none when it names none.

    naming: it is the number of something (an invoice, a page), a time, or a part in a hundred.
    """

    value: Decimal
    currencies: frozenset[str] = frozenset()
    naming: bool = False

    def is_amount(self, major: Decimal, currency: str | None) -> bool:
        if self.value != major or self.naming:
            return False
        return not self.currencies or currency is None or currency in self.currencies


def written(text: str) -> list[Written]:
    """Every number in the text, MAX_NUMBERS at most; what is part of a date, a version, a phone number or an id is
    none.

    `EUR 1,299.00`, `1.299,00 €`, `$12`, `12.5k`, `1 299,00 EUR`, `50 cents`, `USD12`. One separator with three digits
    after it groups thousands, except where the currency has three digits itself.
    """
    found: list[Written] = []
    for match in _NUMBER.finditer(text):
        one = _written(text, match)
        if one is not None:
            found.append(one)
            if len(found) >= MAX_NUMBERS:
                break
    return found


def spelled(words: list[str]) -> Iterator[Decimal]:
    """The numbers from one to twelve that are written as words."""
    for word in words:
        if word in _SPELLED:
            yield Decimal(_SPELLED[word])


def _written(text: str, match: re.Match[str]) -> Written | None:
    before = text[max(0, match.start() - 24) : match.start()]
    after = text[match.end() : match.end() + 24]
    preceding = _BEFORE.search(before)
    currencies = _currencies(preceding[1] or preceding[2]) if preceding else frozenset()
    if before[-1:].isalpha() and not currencies:
        return None
    scale = 1
    if scaled := (_SCALED_MONEY if currencies else _SCALED).match(after):
        scale = _SCALES.get((scaled[1] or scaled[scaled.lastindex or 1]).lower(), 1_000_000)
        after = after[scaled.end() :]
    unit = _UNIT.match(after)
    following = _currencies(unit[1]) if unit else frozenset()
    minor = bool(unit) and not currencies and unit[1].lower() in _MINOR  # type: ignore[index]
    currencies = following or currencies
    if _GLUED.match(after) and not (unit and (following or minor)):
        return None
    value = _value(match[0], currencies) * scale
    word = _WORD_BEFORE.search(before)
    naming = (
        not currencies
        and not minor
        and bool(
            after.lstrip().startswith("%")
            or (word and word[1].lower() in _NAMING)
            or (unit and unit[1].lower() in _FOLLOWED)
        )
    )
    return Written(value / 100 if minor else value, currencies, naming)


def _currencies(word: str) -> frozenset[str]:
    if word in _CODES or word.upper() in ("EUR", "USD", "GBP", "CHF", "JPY", "SEK", "NOK", "DKK", "PLN", "CAD", "AUD"):
        return frozenset({word.upper()})
    return _SIGNS.get(word) or _SIGNS.get(word.lower(), frozenset())


def _value(digits: str, currencies: frozenset[str]) -> Decimal:
    bare = re.sub(r"['\u2019 \u00a0\u202f]", "", digits)
    last = max(bare.rfind("."), bare.rfind(","))
    if last < 0:
        return Decimal(bare)
    separator, fraction = bare[last], bare[last + 1 :]
    other = "," if separator == "." else "."
    three = any(digits_of(currency) == 3 for currency in currencies)
    grouping = bare.count(separator) > 1 or (
        len(fraction) == 3 and other not in bare and not (three and separator == ".")
    )
    whole = bare.replace(".", "").replace(",", "")
    return Decimal(whole) if grouping else Decimal(f"{bare[:last].replace(other, '')}.{fraction}")
