"""The battery's gauge as a source: what devices without instruments draw, as a multiple of the expected."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from typing import Final, NamedTuple

from ollama_proxyd.core.energy import ESTIMATE_ERROR, Source
from ollama_proxyd.core.gauge import MOST_OFF, Mean

LAG_S: Final = 60.0
"""UPower asks a battery twice a minute, and its firmware tells a mean: work is seen for so long after its end."""
EPISODE_S: Final = 300.0
"""Work that does not pause is looked at after so long."""
MEMORY_S: Final = 3600.0
"""After so much work of a device, what was seen before weighs a third."""
EXPECTED_S: Final = 20.0
"""The expectation weighs as much as so many seconds of work that were seen."""
GAUGE_ERROR: Final = 0.2
"""What other programs do at the same time looks like ours."""


class Told(NamedTuple):
    """What work on a device needs, as a multiple of the expected, and from where that is known."""

    factor: float = 1.0
    source: Source = Source.ESTIMATED
    error_share: float = ESTIMATE_ERROR


NOTHING_TOLD: Final = Told()


class Look(NamedTuple):
    """The machine at a moment; joules are sums since the daemon's start."""

    at_s: float
    battery_w: float
    measured_j: Mapping[str, float]
    """What each domain drew that has instruments of its own."""
    tail_j: float
    """Expected of the idle tails of all others."""
    work_j: Mapping[str, float]
    """Expected of the work of each device that has none."""
    at_work_s: Mapping[str, float]
    """How long each of them worked."""


@dataclass(slots=True)
class _Episode:
    """Work, the pauses in it, and the time after it in which the gauge still shows it."""

    seconds: float = 0.0
    quiet_s: float = 0.0
    rest_j: float = 0.0
    work_j: dict[str, float] = field(default_factory=dict)
    at_work_s: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Seen:
    """What a device was expected to draw and what it drew; both fade."""

    expected_j: float
    drawn_j: float
    off_j: float = 0.0
    """How far single episodes were off from all of them."""

    @property
    def factor(self) -> float:
        return min(max(self.drawn_j / self.expected_j, 1 / MOST_OFF), MOST_OFF)

    def add(self, expected_j: float, drawn_j: float, seconds: float) -> None:
        kept = exp(-seconds / MEMORY_S)
        self.off_j = self.off_j * kept + abs(drawn_j - self.factor * expected_j)
        self.expected_j = self.expected_j * kept + expected_j
        self.drawn_j = self.drawn_j * kept + drawn_j


class BatteryGauge:
    """What the battery loses beyond the measured devices and beyond what it loses while nothing of ours works.

    Sums are compared over whole episodes of work, since the gauge is late and is read seldom.
    """

    def __init__(self) -> None:
        self._last: Look | None = None
        self._episode: _Episode | None = None
        self._seen: dict[str, _Seen] = {}
        self._base_w = Mean()
        self.base_j = 0.0
        """What the rest of the machine drew from the battery, its screen and its other programs."""

    def told(self, device_id: str) -> Told:
        """What the gauge says of a device."""
        seen = self._seen.get(device_id)
        if seen is None:
            return NOTHING_TOLD
        off_share = seen.off_j / seen.drawn_j if seen.drawn_j > 0 else 1.0
        source = Source.ESTIMATED if self._last is None else Source.ATTRIBUTED
        return Told(seen.factor, source, GAUGE_ERROR + min(off_share, 1.0))

    def pause(self) -> None:
        """The battery is not discharging, or does not tell."""
        self._last = self._episode = None

    def note(self, look: Look) -> None:
        """One more look at the battery; its watts stand until the next one."""
        last, self._last = self._last, look
        if last is None or look.at_s <= last.at_s:
            return
        if last.measured_j.keys() != look.measured_j.keys():
            self._episode = None  # what was estimated is measured now: the sums do not compare
            return
        seconds = look.at_s - last.at_s
        measured_j = sum(look.measured_j.values()) - sum(last.measured_j.values())
        rest_j = last.battery_w * seconds - measured_j - (look.tail_j - last.tail_j)
        at_work_s = _risen(last.at_work_s, look.at_work_s)
        if self._episode is None and not at_work_s:
            self._base_w.add(max(rest_j, 0.0) / seconds, seconds)
            self.base_j += max(rest_j, 0.0)
            return
        self.base_j += (self._base_w.value or 0.0) * seconds
        episode = self._episode = self._episode or _Episode()
        episode.seconds += seconds
        episode.rest_j += rest_j
        episode.quiet_s = 0.0 if at_work_s else episode.quiet_s + seconds
        _add(episode.work_j, _risen(last.work_j, look.work_j))
        _add(episode.at_work_s, at_work_s)
        if episode.quiet_s >= LAG_S or episode.seconds >= EPISODE_S:
            self._close(episode)

    def _close(self, episode: _Episode) -> None:
        """Learn from what came to an end, where it is known what the machine draws without it."""
        self._episode = None
        if self._base_w.value is None:
            return
        drawn_j = max(episode.rest_j - self._base_w.value * episode.seconds, 0.0)
        for device_id, work_j in episode.work_j.items():
            if device_id not in self._seen:
                start_j = work_j / episode.at_work_s[device_id] * EXPECTED_S
                self._seen[device_id] = _Seen(start_j, start_j)
        weights = {each: work_j * self._seen[each].factor for each, work_j in episode.work_j.items()}
        for each, weight in weights.items():
            self._seen[each].add(
                episode.work_j[each], drawn_j * weight / sum(weights.values()), episode.at_work_s[each]
            )


def _risen(before: Mapping[str, float], after: Mapping[str, float]) -> Mapping[str, float]:
    return {each: risen for each, value in after.items() if (risen := value - before.get(each, 0.0)) > 0}


def _add(sums: dict[str, float], more: Mapping[str, float]) -> None:
    for each, value in more.items():
        sums[each] = sums.get(each, 0.0) + value
