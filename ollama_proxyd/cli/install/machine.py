"""What this machine has of systemd, D-Bus and GNOME, and the calls that tell them of changed files."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ollama_proxyd.cli.install.files import InstallError

SERVICE, SOCKET = "ollama-proxyd.service", "ollama-proxyd.socket"
BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
PATIENCE_S = 120.0
"""Longer than the unit's own limits for stop and start."""
NEEDED = {
    "systemd": ("systemctl",),
    "D-Bus": ("dbus-daemon", "dbus-broker-launch", "dbus-broker"),
    "GNOME Shell": ("gnome-shell",),
    "xdg-open": ("xdg-open",),
}
"""Each facility with the programs that show that it is there."""


class Machine:
    """The facilities, and the user's service manager; `no_manager` says why nothing can be asked of it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = dict(environ)
        self.no_manager = self.lacks("systemd") or self._no_session()

    def lacks(self, facility: str) -> str | None:
        """Why a facility cannot be used; None where it can be."""
        has_bus = facility == "D-Bus" and "DBUS_SESSION_BUS_ADDRESS" in self.environ
        if has_bus or any(self._has(program) for program in NEEDED[facility]):
            return None
        return f"{facility} is not on this machine"

    def reload(self) -> None:
        """Have systemd and the bus read their files again."""
        if self.no_manager is None:
            self._run("systemctl", "--user", "daemon-reload")
        # dbus-daemon sees new files by itself, dbus-broker does not; where that is, busctl is too.
        self.tell_session("busctl", "--user", "call", *BUS, "ReloadConfig")

    def is_active(self, unit: str) -> bool:
        """Whether the unit is up."""
        return self.no_manager is None and self._systemctl("is-active", "--quiet", unit).returncode == 0

    def replace_daemon(self, *, socket_too: bool) -> None:
        """Restart the daemon; returns once the new one serves, raises InstallError if it does not."""
        if socket_too:
            self._systemctl("stop", SERVICE)
            self.restart(SOCKET)
        self.restart(SERVICE)

    def restart(self, unit: str) -> None:
        """Restart a unit, or start it; raises InstallError with what the unit says."""
        done = self._systemctl("restart", unit)
        if done.returncode != 0:
            status = self._systemctl("status", "--no-pager", "--lines=5", unit)
            raise InstallError(f"{unit} did not start:\n{done.stderr.strip()}\n{status.stdout.strip()}")

    def stop(self) -> None:
        """Stop the daemon and its sockets, as if they had never run."""
        if self.no_manager is None:
            self._systemctl("stop", SOCKET, SERVICE)
            self._systemctl("reset-failed", SOCKET, SERVICE)

    def uses(self, unit: Path) -> bool:
        """Whether systemd loaded the unit from this very file."""
        if self.no_manager is not None:
            return False
        shown = self._systemctl("show", "--property=FragmentPath", "--value", unit.name)
        return shown.stdout.strip() in {str(unit), str(unit.resolve())}

    def tell_session(self, program: str, *arguments: str) -> None:
        """Run a program of the user's session, where there is one; nothing depends on the answer."""
        if self.environ.get("DBUS_SESSION_BUS_ADDRESS") and self._has(program):
            self._run(program, *arguments)

    def _no_session(self) -> str | None:
        runtime = self.environ.get("XDG_RUNTIME_DIR")
        if not runtime:
            return "XDG_RUNTIME_DIR is not set, so this is no login session"
        if not Path(runtime, "systemd", "private").exists():
            return f"no systemd of this user runs in {runtime}"
        return None

    def _has(self, program: str) -> bool:
        return shutil.which(program, path=self.environ.get("PATH")) is not None

    def _systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("systemctl", "--user", *arguments)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - our own words
                command,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            raise InstallError(f"{' '.join(command)}: no end after {PATIENCE_S:g} s") from None
