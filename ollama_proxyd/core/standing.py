"""A summary of the fleet, in numbers and in one sentence."""

from dataclasses import dataclass

from ollama_proxyd.core.fleet import FleetView, Health
from ollama_proxyd.core.modes import ModeSetting


@dataclass(frozen=True, slots=True)
class Standing:
    """Counts: enabled backends, serving backends, and serving ones with trouble."""

    wanted: int = 0
    up: int = 0
    degraded: int = 0


def standing(fleet: FleetView) -> Standing:
    """The numbers for a fleet."""
    wanted = [view for view in fleet if view.health is not Health.DISABLED]
    up = [view for view in wanted if view.health is Health.UP]
    return Standing(len(wanted), len(up), sum(bool(view.degraded) for view in up))


def sentence(setting: ModeSetting, place: str, stands: Standing) -> str:
    """Mode, address and backends in one line: "Balanced: serving on 127.0.0.1:8080, 3 of 4 backends up"."""
    mode = setting.chosen.value
    if setting.effective is not setting.chosen:
        mode = f"{mode} ({setting.effective.value} now)"
    return f"{mode}: serving on {place}, {_backends(stands)}"


def _backends(stands: Standing) -> str:
    if not stands.wanted:
        return "no backend yet: start Ollama or llama-server"
    degraded = f" ({stands.degraded} degraded)" if stands.degraded else ""
    noun = "backend" if stands.wanted == 1 else "backends"
    return f"{stands.up} of {stands.wanted} {noun} up{degraded}"
