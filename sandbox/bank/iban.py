"""International Bank Account Numbers (ISO 13616), with the check digits of ISO 7064 MOD 97-10."""

import re

# Lengths from the SWIFT IBAN registry, for the countries of SEPA.
_LENGTHS = {
    "AD": 24, "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20,
    "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GI": 23, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IS": 26,
    "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28,
    "PT": 25, "RO": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "VA": 22,
}  # fmt: skip


def is_valid(iban: str) -> bool:
    """True for an IBAN in electronic form (capitals, no spaces) with the right length and check digits."""
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", iban) or _LENGTHS.get(iban[:2]) != len(iban):
        return False
    return _remainder(iban) == 1


def with_check_digits(country: str, account: str) -> str:
    """The IBAN of a national account number."""
    return f"{country}{98 - _remainder(f'{country}00{account}'):02d}{account}"


def _remainder(iban: str) -> int:
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97
