"""National ids with right check digits: a maker, a sentence that calls it one, and the name of a field, by country."""

import random
from collections.abc import Callable
from importlib import import_module

Maker = Callable[[random.Random], str]


def _valid(module: str, make: Maker) -> Maker:
    """Tries until the check digits are right, which is at most some hundred times."""

    def made(chance: random.Random) -> str:
        is_valid = import_module(f"stdnum.{module}").is_valid
        while True:
            number = make(chance)
            if is_valid(number):
                return number

    return made


def _n(chance: random.Random, count: int) -> str:
    return "".join(str(chance.randint(0, 9)) for _ in range(count))


def _day(chance: random.Random) -> tuple[str, str, str]:
    return f"{chance.randint(50, 99)}", f"{chance.randint(1, 12):02}", f"{chance.randint(1, 28):02}"


def _belgian(chance: random.Random) -> str:
    year, month, day = _day(chance)
    serial = f"{chance.randint(1, 997):03}"
    check = 97 - int(f"{year}{month}{day}{serial}") % 97
    return chance.choice([f"{year}.{month}.{day}-{serial}.{check:02}", f"{year}{month}{day}{serial}{check:02}"])


def _french(chance: random.Random) -> str:
    year, month, _ = _day(chance)
    number = f"{chance.choice('12')}{year}{month}{chance.randint(1, 19):02}{_n(chance, 3)}{_n(chance, 3)}"
    check = f"{97 - int(number) % 97:02}"
    spaced = f"{number[0]} {number[1:3]} {number[3:5]} {number[5:7]} {number[7:10]} {number[10:]} {check}"
    return chance.choice([number + check, spaced])


def _italian(chance: random.Random) -> str:
    from stdnum.it.codicefiscale import calc_check_digit

    letters = "".join(chance.choices("BCDFGLMNPRSTVZ", k=6))
    year, _, day = _day(chance)
    number = f"{letters}{year}{chance.choice('ABCDEHLMPRST')}{day}{chance.choice('ABCDEFGHL')}{_n(chance, 3)}"
    return number + str(calc_check_digit(number))


def _spanish(chance: random.Random) -> str:
    number = _n(chance, 8)
    letter = "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]
    return chance.choice([number + letter, f"{number}-{letter}"])


def _nie(chance: random.Random) -> str:
    number = _n(chance, 7)
    return f"X{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(number) % 23]}"


def _polish(chance: random.Random) -> str:
    return "".join(_day(chance)) + _n(chance, 5)


def _swedish(chance: random.Random) -> str:
    return "".join(_day(chance)) + "-" + _n(chance, 4)


NATIONAL: tuple[tuple[Maker, str, str], ...] = (
    (_valid("de.idnr", lambda c: str(c.randint(1, 9)) + _n(c, 10)), "Steuer-ID: {}", "/employee/taxId"),
    (_valid("fr.nir", _french), "NIR {}", "/salarie/nir"),
    (_valid("nl.bsn", lambda c: str(c.randint(1, 9)) + _n(c, 8)), "BSN: {}", "/employee/bsn"),
    (_valid("es.dni", _spanish), "DNI {}", "/cliente/dni"),
    (_valid("es.nie", _nie), "con NIE {}", "/cliente/nie"),
    (_valid("it.codicefiscale", _italian), "codice fiscale {}", "/dati/codiceFiscale"),
    (_valid("pl.pesel", _polish), "PESEL {}", "/pracownik/pesel"),
    (
        (lambda c: f"AB {_n(c, 2)} {_n(c, 2)} {_n(c, 2)} {c.choice('ABCD')}"),
        "NI number {}",
        "/hr/nino",
    ),
    (
        _valid("us.ssn", lambda c: f"{c.randint(1, 665):03}-{c.randint(1, 99):02}-{c.randint(1, 9999):04}"),
        "SSN {}",
        "/ssn",
    ),
    (_valid("se.personnummer", _swedish), "personnummer {}", "/person/personnummer"),
    (_valid("be.nn", _belgian), "rijksregisternummer {}", "/werknemer/rijksregisternummer"),
    (_valid("ch.ssn", lambda c: f"756.{_n(c, 4)}.{_n(c, 4)}.{_n(c, 2)}"), "AHV {}", "/ahv"),
)
