"""What runs engines where there is no systemd of the user."""

from collections.abc import Mapping
from pathlib import Path

from ollama_proxyd.edges.engines.runner import Runner
from ollama_proxyd.edges.engines.transient import TransientUnits
from ollama_proxyd.edges.plumbing.clock import SystemClock
from ollama_proxyd.edges.plumbing.dbus_line import BusLine


def runner_in(folder: Path, environ: Mapping[str, str]) -> Runner:
    """It starts children."""
    return Runner(folder, environ, TransientUnits(BusLine(f"unix:path={folder}/no-bus", SystemClock())))
