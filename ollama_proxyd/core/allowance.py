"""How many requests a minute are let through."""

from dataclasses import dataclass

_MINUTE_S = 60.0


@dataclass(slots=True)
class Allowance:
    """So many requests in each minute: unused ones add up to one minute's."""

    per_minute: int
    left: float
    at_s: float

    def take(self, now_s: float) -> float:
        """Take one; the seconds until there is one where there is none, else 0."""
        wait_s = self.wait_s(now_s)
        if not wait_s:
            self.left -= 1
        return wait_s

    def wait_s(self, now_s: float) -> float:
        """The seconds until there is one, 0 where there is."""
        rate = self.per_minute / _MINUTE_S
        self.left = min(self.per_minute, self.left + (now_s - self.at_s) * rate)
        self.at_s = now_s
        return max(1 - self.left, 0.0) / rate
