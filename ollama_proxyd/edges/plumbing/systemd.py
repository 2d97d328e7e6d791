"""The user's systemd manager on the bus: its names and interfaces (org.freedesktop.systemd1(5))."""

from typing import Final

from ollama_proxyd.edges.plumbing.dbus import Target

NAME: Final = "org.freedesktop.systemd1"
UNIT: Final = f"{NAME}.Unit"
JOB: Final = f"{NAME}.Job"
SERVICE: Final = f"{NAME}.Service"
MANAGER: Final = Target(NAME, "/org/freedesktop/systemd1", f"{NAME}.Manager")
REPLACE: Final = "replace"
"""A job that contradicts this one gives way, such as stopping before starting."""
