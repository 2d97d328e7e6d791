"""A summary of the fleet, in numbers and in one sentence."""

from ollama_proxyd.core.fleet import BackendView, FleetView, Health
from ollama_proxyd.core.modes import ModeSetting
from ollama_proxyd.core.values import value


@value
class FleetSummary:
    """Counts: expected backends, serving backends, and serving ones with trouble."""

    expected: int = 0
    up: int = 0
    degraded: int = 0

    def after(self, was: BackendView, now: BackendView) -> "FleetSummary":
        """The numbers once one backend has changed."""
        less, more = summarise((was,)), summarise((now,))
        changes = less.expected - more.expected, less.up - more.up, less.degraded - more.degraded
        return FleetSummary(self.expected - changes[0], self.up - changes[1], self.degraded - changes[2])


def expected(fleet: FleetView) -> FleetView:
    """The backends that ought to serve: neither those switched off nor another machine's that are down.

    Other machines come and go, so one that is away is no trouble of this one.
    """
    return tuple(
        view
        for view in fleet
        if view.health is not Health.DISABLED and not (view.spec.machine and view.health is Health.DOWN)
    )


def summarise(fleet: FleetView) -> FleetSummary:
    """The numbers for a fleet."""
    wanted = expected(fleet)
    up = [view for view in wanted if view.can_serve]
    return FleetSummary(len(wanted), len(up), sum(view.reason is not None for view in up))


def sentence(setting: ModeSetting, place: str, summary: FleetSummary, within: int) -> str:
    """Mode, address and backends in one line: "Balanced: serving on 127.0.0.1:8080, 3 of 4 backends up".

    `within` are those of them within the mode, told unless all are.
    """
    mode = setting.chosen.value
    if setting.effective is not setting.chosen:
        mode = f"{mode} ({setting.effective.value} now)"
    inside = f", {within} within the mode" if within < summary.up else ""
    return f"{mode}: serving on {place}, {_backends(summary)}{inside}"


def _backends(summary: FleetSummary) -> str:
    if not summary.expected:
        return "no backend yet: start Ollama or llama-server"
    degraded = f" ({summary.degraded} degraded)" if summary.degraded else ""
    noun = "backend" if summary.expected == 1 else "backends"
    return f"{summary.up} of {summary.expected} {noun} up{degraded}"
