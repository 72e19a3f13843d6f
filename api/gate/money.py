"""Amounts of money as people read them."""

#: Digits of the minor unit where they are not two (ISO 4217, list one).
_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}


def digits_of(currency: str) -> int:
    """The digits of a currency's minor unit: 2 of EUR, none of JPY, 3 of KWD."""
    return next((digits for digits, currencies in _DIGITS.items() if currency in currencies.split()), 2)


def format_amount(amount: int, currency: str) -> str:
    """An amount of minor units with its currency: 129900 EUR is `1,299.00 EUR`, 500 JPY is `500 JPY`."""
    digits = digits_of(currency)
    whole, minor = divmod(abs(amount), 10**digits)
    return f"{'-' if amount < 0 else ''}{whole:,}{f'.{minor:0{digits}d}' if digits else ''} {currency}"
