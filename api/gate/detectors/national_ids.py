"""National identification numbers, by form and check digits (python-stdnum) and by what they are called.

A number of digits alone is one only where it is called one: 9 digits that pass a check are mostly something else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

from api.gate.detectors.context import called, called_otherwise
from api.gate.detectors.found import Found


@dataclass(frozen=True, slots=True)
class _Id:
    """module: of stdnum, that checks it; none where it has no check digit. words: by which it is called. alone: how
    sure it is without; 0: not at all. formal: a form in which it is one without being called so.
    """

    what: str
    module: str
    pattern: re.Pattern[str]
    words: str
    alone: float = 0.0
    formal: re.Pattern[str] | None = None


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?<!\d[.,/]){pattern}(?!\w|[.,/-]\d)", re.IGNORECASE)


_IDS: tuple[_Id, ...] = (
    _Id(
        "IT codice fiscale",
        "it.codicefiscale",
        _form(r"[A-Z]{6} ?[0-9LMNP-V]{2}[A-EHLMPR-T][0-9LMNP-V]{2} ?[A-Z][0-9LMNP-V]{3}[A-Z]"),
        "codice fiscale|codicefiscale|cf|fiscal|taxid|taxcode",
        0.95,
    ),
    _Id(
        "FR NIR",
        "fr.nir",
        _form(r"[12378] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3}[ -]?\d{2}"),
        "nir|insee|sécu|secu|sécurité sociale|securite sociale|socialsecurity|ssn",
        0.85,
    ),
    _Id(
        "ES DNI",
        "es.dni",
        _form(r"(?:\d{8}|\d{2}\.\d{3}\.\d{3})-?[A-Z]"),
        "dni|nif|documento|identidad|nationalid",
        0.75,
    ),
    _Id("ES NIE", "es.nie", _form(r"[XYZ]-?\d{7}-?[A-Z]"), "nie|extranjero|nif|nationalid", 0.85),
    _Id(
        "DE Steuer-ID",
        "de.idnr",
        _form(r"[1-9]\d[ /]?\d{3}[ /]?\d{3}[ /]?\d{3}"),
        "steuer|steuerid|steuernummer|steueridentifikationsnummer|identifikationsnummer|idnr|idno|tin|taxid|tax id",
    ),
    _Id(
        "NL BSN",
        "nl.bsn",
        _form(r"\d{2,4}[. -]?\d{2,3}[. -]?\d{2,3}"),
        "bsn|burgerservicenummer|sofinummer|sofi|nationalid|burgerservice",
    ),
    _Id("PL PESEL", "pl.pesel", _form(r"\d{11}"), "pesel|nationalid"),
    _Id(
        "BE rijksregisternummer",
        "be.nn",
        _form(r"\d{2}[. -]?\d{2}[. -]?\d{2}[. -]?\d{3}[. -]?\d{2}"),
        "rijksregisternummer|rijksregister|registre national|niss|insz|nrn|nationalnumber|numéro national|nationalid",
        0.0,
        _form(r"\d{2}\.\d{2}\.\d{2}-\d{3}[.-]\d{2}"),
    ),
    _Id(
        "GB NINO",
        "",
        _form(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"),
        "nino|ni|national insurance|nationalinsurance|insurance|nationalid",
        0.0,
        _form(r"[A-Z]{2} \d{2} \d{2} \d{2} [A-D]"),
    ),
    _Id(
        "US SSN",
        "us.ssn",
        _form(r"\d{3}([ -]?)\d{2}\1\d{4}"),
        "ssn|social security|socialsecurity|social|itin|taxid|taxpayer",
        0.0,
        _form(r"\d{3}-\d{2}-\d{4}"),
    ),
    _Id(
        "SE personnummer",
        "se.personnummer",
        _form(r"(?:19|20)?\d{6}[-+]?\d{4}"),
        "personnummer|personnr|pnr|nationalid|personal number|samordningsnummer",
        0.0,
        _form(r"(?:19|20)?\d{6}[-+]\d{4}"),
    ),
    _Id(
        "CH AHV",
        "ch.ssn",
        _form(r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}"),
        "ahv|avs|ahvn|sozialversicherung|ssn",
        0.85,
    ),
    _Id(
        "FI henkilötunnus",
        "fi.hetu",
        _form(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]"),
        "hetu|henkilötunnus|henkilotunnus|nationalid",
        0.85,
    ),
)


def national_ids(text: str, name: str) -> Iterator[Found]:
    """Everything that is one by its check digits, and is called one or written as nothing else is."""
    for one in _IDS:
        for match in one.pattern.finditer(text):
            start, end = match.span()
            known = called(text, start, end, name, one.words)
            alone = 0.8 if one.formal and one.formal.fullmatch(match[0]) else one.alone
            if not known and (not alone or called_otherwise(text, start)):
                continue
            if not one.module or _checked(one.module).is_valid(match[0]):
                value = "".join(filter(str.isalnum, match[0])).upper()
                yield Found("national_id", start, end, 0.98 if known else alone, value, one.what)


@cache
def _checked(module: str) -> ModuleType:
    return import_module(f"stdnum.{module}")
