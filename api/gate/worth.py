"""What an action is worth: its amounts, by currency, in minor units."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from api.gate.contracts import Argument, Contract
from api.gate.money import digits_of
from api.gate.pointer import missing, resolve


@dataclass(frozen=True, slots=True)
class Amount:
    """One amount of a proposal: minor units of a currency, or the `problem` that keeps it from being one."""

    pointer: str
    currency: str | None = None
    minor: int | None = None
    problem: str | None = None


def amounts(contract: Contract, args: dict[str, Any]) -> Iterator[Amount]:
    """Every argument that the contract calls an amount, also one that is left out. Pointers are without `/args`."""
    for pattern, argument in contract.arguments.items():
        if argument.role == "amount":
            for pointer in missing(args, pattern):
                yield Amount(pointer, problem="The amount is not named.")
            currency = _currency(argument, args)
            for pointer, value in resolve(args, pattern):
                yield _amount(pointer, value, argument, currency)


def totals(contract: Contract, args: dict[str, Any]) -> dict[str, int]:
    """The sum of the amounts by currency; every amount counts as what it takes, whatever its sign."""
    found: dict[str, int] = {}
    for amount in amounts(contract, args):
        if amount.currency is not None and amount.minor is not None:
            found[amount.currency] = found.get(amount.currency, 0) + amount.minor
    return found


def in_minor_units(value: Any, argument: Argument, currency: str) -> int | None:
    """The amount in minor units, without its sign; None for what is no number, or finer than the currency."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if argument.unit == "minor":
        return abs(value) if isinstance(value, int) else None
    # The shortest digits of a double are the ones that were written.
    exact = abs(Decimal(repr(value))).scaleb(digits_of(currency))
    return int(exact) if exact == exact.to_integral_value() and exact < 2**63 else None


def _currency(argument: Argument, args: dict[str, Any]) -> str | None:
    if argument.fixed_currency:
        return argument.fixed_currency
    named = [value for _, value in resolve(args, argument.currency)] if argument.currency else []
    return named[0] if len(named) == 1 and isinstance(named[0], str) else None


def _amount(pointer: str, value: Any, argument: Argument, currency: str | None) -> Amount:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Amount(pointer, problem="The amount is no number.")
    if argument.unit == "minor" and not isinstance(value, int):
        return Amount(pointer, problem="The amount is not a whole number of minor units.")
    if currency is None:
        return Amount(pointer, problem="The amount's currency is not named.")
    minor = in_minor_units(value, argument, currency)
    if minor is None:
        return Amount(pointer, problem=f"The amount is finer than {currency[:10]} has units for, or too large.")
    return Amount(pointer, currency, minor)
