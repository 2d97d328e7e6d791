"""Tells the user's systemd, bus and desktop what has changed."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from ollama_proxyd.cli.install import surroundings
from ollama_proxyd.cli.install.failures import InstallError
from ollama_proxyd.cli.install.templates import SERVICE, SOCKET

BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
PATIENCE_S = 120.0
"""Longer than the unit's own limits for an end and a start."""


class UserManager:
    """systemd's user manager; where there is none, `missing` says why, and nothing may be asked of it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self.missing = surroundings.why_no_user_manager(environ)

    def reload(self) -> None:
        """Have systemd and the bus read their files again."""
        if self.missing is None:
            self._run("systemctl", "--user", "daemon-reload")
        if not self._environ.get("DBUS_SESSION_BUS_ADDRESS"):
            return
        if surroundings.has(self._environ, "busctl"):
            self._run("busctl", "--user", "call", *BUS, "ReloadConfig")
        elif surroundings.has(self._environ, "dbus-send"):
            self._run("dbus-send", "--session", f"--dest={BUS[0]}", BUS[1], f"{BUS[2]}.ReloadConfig")

    def is_active(self, unit: str) -> bool:
        """Whether the unit is up."""
        return self.missing is None and self._run("systemctl", "--user", "is-active", "--quiet", unit).returncode == 0

    def restart(self, *, socket_too: bool) -> None:
        """Have the running daemon replaced; returns once the new one serves, raises InstallError if it does not."""
        if socket_too:
            self._run("systemctl", "--user", "stop", SERVICE)
            self.start(SOCKET, "restart")
        self.start(SERVICE, "restart")

    def start(self, unit: str, verb: str = "start") -> None:
        """Start a unit; raises InstallError with what the unit says."""
        done = self._run("systemctl", "--user", verb, unit)
        if done.returncode != 0:
            status = self._run("systemctl", "--user", "status", "--no-pager", "--lines=5", unit)
            raise InstallError(f"{unit} did not start:\n{done.stderr.strip()}\n{status.stdout.strip()}")

    def stop(self) -> None:
        """End the daemon and give up its sockets, as if it had never run."""
        if self.missing is None:
            self._run("systemctl", "--user", "stop", SOCKET, SERVICE)
            self._run("systemctl", "--user", "reset-failed", SOCKET, SERVICE)

    def uses(self, unit: Path) -> bool:
        """Whether this file, and not one of another folder, is the unit of its name."""
        if self.missing is not None:
            return False
        shown = self._run("systemctl", "--user", "show", "--property=FragmentPath", "--value", unit.name)
        return shown.stdout.strip() in {str(unit), str(unit.resolve())}

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - our own words
                command,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            raise InstallError(f"{' '.join(command)}: no end after {PATIENCE_S:g} s") from None
