"""The energy budget of a day: what of it is spent, and what happens once all of it is."""

from dataclasses import replace
from enum import Enum
from typing import Annotated

from ollama_proxyd.core.energy_books import JOULES_PER_WH
from ollama_proxyd.core.modes import Mode, ModeSetting, ModeTable, row_in_force
from ollama_proxyd.core.options import Option, Positive
from ollama_proxyd.core.reasons import Reason, reason_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.values import value


class WhenReached(Enum):
    """What happens from the moment when a day's budget is spent until midnight."""

    ULTRA = "ultra"
    WARN = "warn"
    REFUSE_BACKGROUND = "refuse_background"


@value
class BudgetSettings:
    """How much energy a day has, and what happens once it is spent."""

    daily_limit_wh: Annotated[
        Positive | None,
        Option("energy.daily_limit_watt_hours", "The budget of a day for answers and idle tails; null is no limit."),
    ] = None
    when_reached: Annotated[
        WhenReached,
        Option(
            "energy.",
            "What happens once it is spent, until midnight: Ultra Efficiency, a warning only, "
            "or requests of priority best-effort are refused.",
        ),
    ] = WhenReached.WARN


@value
class Budget:
    """A day's budget; `reason` is what its end means, None while there is some left or no limit.

    `incomplete` is why the sum counts from the daemon's start only, None where it is that of the day.
    """

    limit_wh: float | None
    spent_wh: float
    when_reached: WhenReached
    reason: Reason | None
    incomplete: Reason | None = None


_CODES = {
    WhenReached.ULTRA: "budget_ultra",
    WhenReached.WARN: "budget_spent",
    WhenReached.REFUSE_BACKGROUND: "budget_refuses",
}


def budget_fields(told: Budget) -> dict[str, Json]:
    """The budget under the keys that every surface has."""
    return {
        "limit_watt_hours": told.limit_wh,
        "spent_watt_hours": told.spent_wh,
        "when_reached": told.when_reached.value,
        **reason_fields(told.reason),
        "incomplete": None if told.incomplete is None else reason_fields(told.incomplete),
    }


def budget(settings: BudgetSettings, spent_j: float, *, is_overruled: bool = False) -> Budget:
    """The budget after so many joules; `is_overruled`: a person chose a mode since it was spent."""
    limit_wh, spent_wh, reason = settings.daily_limit_wh, spent_j / JOULES_PER_WH, None
    if limit_wh is not None and spent_wh >= limit_wh:
        is_chosen = is_overruled and settings.when_reached is WhenReached.ULTRA
        code = "budget_overruled" if is_chosen else _CODES[settings.when_reached]
        reason = Reason(code, limit_watt_hours=limit_wh)
    return Budget(limit_wh, spent_wh, settings.when_reached, reason)


def capped(setting: ModeSetting, why: Reason | None, table: ModeTable) -> ModeSetting:
    """The mode in force where a reason asks for Ultra Efficiency, whatever was chosen, held, or made of Auto."""
    if why is None or setting.effective is Mode.ULTRA_EFFICIENCY:
        return setting
    row = row_in_force(setting.wanted, Mode.ULTRA_EFFICIENCY, table)
    return replace(setting, effective=Mode.ULTRA_EFFICIENCY, reason=why, row=row)
