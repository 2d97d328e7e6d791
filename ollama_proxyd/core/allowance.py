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
        return max(1 - self.left_at(now_s), 0.0) / self._rate

    def left_at(self, now_s: float) -> float:
        """How many there are."""
        self.left = min(self.per_minute, self.left + (now_s - self.at_s) * self._rate)
        self.at_s = now_s
        return self.left

    @property
    def _rate(self) -> float:
        return self.per_minute / _MINUTE_S
