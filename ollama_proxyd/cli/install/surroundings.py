"""What of systemd, D-Bus and GNOME there is on this machine; where one is missing, the reason."""

import shutil
from collections.abc import Mapping
from pathlib import Path

BUSES = ("dbus-daemon", "dbus-broker-launch", "dbus-broker")


def why_no_systemd(environ: Mapping[str, str]) -> str | None:
    """None where units are of use."""
    return None if has(environ, "systemctl") else "systemd is not on this machine"


def why_no_user_manager(environ: Mapping[str, str]) -> str | None:
    """None where the user's systemd can be told something now."""
    missing = why_no_systemd(environ)
    if missing is not None:
        return missing
    runtime = environ.get("XDG_RUNTIME_DIR")
    if not runtime:
        return "XDG_RUNTIME_DIR is not set, so this is no login session"
    if not Path(runtime, "systemd", "private").exists():
        return f"no systemd of this user runs in {runtime}"
    return None


def why_no_dbus(environ: Mapping[str, str]) -> str | None:
    """None where activation files are of use."""
    has_one = environ.get("DBUS_SESSION_BUS_ADDRESS") or any(has(environ, name) for name in BUSES)
    return None if has_one else "D-Bus is not on this machine"


def why_no_gnome(environ: Mapping[str, str]) -> str | None:
    """None where the extension is of use."""
    return None if has(environ, "gnome-shell") else "GNOME Shell is not on this machine"


def why_no_desktop(environ: Mapping[str, str]) -> str | None:
    """None where an entry among the applications is of use."""
    return None if has(environ, "xdg-open") else "xdg-open is not on this machine"


def has(environ: Mapping[str, str], program: str) -> bool:
    """Whether a program is there."""
    return shutil.which(program, path=environ.get("PATH")) is not None
