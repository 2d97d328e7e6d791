"""The day's energy budget in a line."""

from typing import Any


def budget(told: Any) -> list[str]:
    """What is spent of how much, and what that means; nothing where there is no limit."""
    if told is None or told["limit_watt_hours"] is None:
        return []
    spent = f"{told['spent_watt_hours']:.3g}" if told["spent_watt_hours"] >= 0.001 else "0"
    why = [each for each in (told["reason"], (told["incomplete"] or {}).get("reason")) if each]
    return ["; ".join([f"{spent} of {told['limit_watt_hours']:g} Wh of the day's budget", *why])]
