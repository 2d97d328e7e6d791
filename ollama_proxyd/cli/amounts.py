"""Numbers for people: one rule for digits, and one for units of energy.

What a single answer needs is told in joules, sums over time in watt-hours, the unit of batteries.
"""

from decimal import Decimal

JOULES_PER_WH = 3600
LEAST_WH = 0.01
"""Below it an energy is told in thousandths of a watt-hour."""
LEAST_MWH = 0.01


def number(value: float) -> str:
    """Three digits that mean something, and no exponents."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{Decimal(f'{value:.3g}'):f}"


def energy(joules: float) -> str:
    """A sum in watt-hours, with as many digits as mean something."""
    wh = joules / JOULES_PER_WH
    if abs(wh) >= LEAST_WH or not wh:
        return f"{number(wh)} Wh"
    mwh = 1000 * wh
    return f"{mwh:.2g} mWh" if abs(mwh) >= LEAST_MWH else f"{'-' if mwh < 0 else ''}<{LEAST_MWH} mWh"


def known(source: str | None, joules: float, error_j: float | None) -> str:
    """From where a sum is known, and how far it may be wrong."""
    if source is None or not joules or error_j is None:
        return source or ""
    return f"{source} ±{100 * error_j / abs(joules):.0f} %"


def money(spent: dict[str, float]) -> str:
    """What services took, by currency."""
    return ", ".join(f"{number(amount)} {currency}" for currency, amount in spent.items())


def count(amount: int, noun: str) -> str:
    """So many of a thing."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"
