"""The digits of a number that a surface shows: six that count, and thousandths."""

import math
from collections.abc import Mapping
from typing import Any

DIGITS = 6
DECIMALS = 3
"""At least; a moment since 1970 and a day's joules keep their thousandths."""


def shortened(value: Any) -> Any:
    """A value of JSON with each number in it shortened."""
    if isinstance(value, float):
        return _number(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {key: shortened(each) for key, each in value.items()}
    return [shortened(each) for each in value] if isinstance(value, list | tuple) else value


def _number(value: float) -> float:
    if not value or not math.isfinite(value):
        return value
    return round(value, max(DIGITS - 1 - math.floor(math.log10(abs(value))), DECIMALS))
