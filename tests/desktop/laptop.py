"""A fake laptop: battery, mains, firmware and processor of umockdev's, with real UPower and power-profiles-daemon.

The machine itself runs in a process of its own (laptop_server.py), which needs the system's Python; daemons and tests
reach it over a private system bus. Games are real ones for the real GameMode, on a private session bus.
"""

import json
import os
import signal
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from tests.desktop.private_bus import PrivateBus

SERVER = Path(__file__).with_name("laptop_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
GAMEMODE = "com.feralinteractive.GameMode"
WITHOUT_TOOLS = "/usr/bin/env PATH=/nonexistent"
"""So that GameMode cannot change anything about the machine that the tests run on."""
CHARGER_W = 30.0
DRAIN_W = 9.5


class Game:
    """GameMode's own client, which asks for strength as a game does and waits."""

    def __init__(self, session_bus: str) -> None:
        environment = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": session_bus}
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(["gamemoded", "-r"], stdin=quiet, stdout=quiet, stderr=quiet, env=environment)

    def end(self) -> None:
        """Leave the game."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)


class Laptop:
    """The machine, plugged in, with its battery charging and its daemons running.

    Every method returns when the machine has changed; the daemons tell of it by their signals, milliseconds later.
    percent: how full the battery is, None where there is none. has_firmware: whether the firmware knows profiles and
    laps; before version 0.20 power-profiles-daemon does not look at the processor of a machine whose firmware does.
    """

    def __init__(self, percent: float | None = 80.0, has_firmware: bool = True) -> None:
        self.system_bus = PrivateBus()
        self.session_bus = PrivateBus({GAMEMODE: f"{WITHOUT_TOOLS} /usr/bin/gamemoded"})
        self.percent = percent or 0.0
        self._process = subprocess.Popen(
            ["umockdev-wrapper", SYSTEM_PYTHON, "-s", str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.system_bus.address},
            start_new_session=True,
        )
        with ExitStack() as undo:
            undo.callback(self.close)
            self._answer()
            if percent is not None:
                self._do("add_battery", percent=percent, status="Charging")
            if has_firmware:
                self._do("add_firmware")
            for daemon in ("upower", "polkit", "power-profiles"):
                self.start(daemon)
            undo.pop_all()

    def _do(self, what: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the laptop's own process has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]

    def _set_battery(self, status: str, power_w: float) -> None:
        self._do("set_battery", percent=self.percent, status=status, power_w=power_w)

    def unplug(self) -> None:
        """Take the charger away."""
        self._do("set_mains", online=False)
        self._set_battery("Discharging", DRAIN_W)

    def plug_in(self) -> None:
        """Give the charger back."""
        self._do("set_mains", online=True)
        self._set_battery("Charging", CHARGER_W)

    def drain_to(self, percent: float) -> None:
        """Have the battery in use be that full."""
        self.percent = percent
        self._set_battery("Discharging", DRAIN_W)

    def charge_to(self, percent: float) -> None:
        """Have the battery on the charger be that full."""
        self.percent = percent
        self._set_battery("Charging", CHARGER_W)

    def reach_charge_threshold(self) -> None:
        """Have the charger stop charging before the battery is full."""
        self._set_battery("Not charging", 0.0)

    def remove_battery(self) -> None:
        """Take the battery out."""
        self._do("remove_battery")

    def put_on_lap(self, on_lap: bool = True) -> None:
        """Lay the machine on a lap, or back on the table."""
        self._do("set_lap", on_lap=on_lap)

    def heat_up(self, is_hot: bool = True) -> None:
        """Have the firmware forbid the processor's turbo because of heat, or allow it again."""
        self._do("set_turbo", allowed=not is_hot)

    def press_profile_key(self, profile: str) -> None:
        """Choose the firmware's profile (low-power, balanced, performance) by a key on the keyboard."""
        self._do("press_profile_key", profile=profile)

    def play(self) -> "Game":
        """Start a game that asks GameMode for strength, which starts with the first one; `end` ends the game."""
        return Game(self.session_bus.address)

    def start(self, daemon: str) -> None:
        """Start "upower", "polkit" or "power-profiles"."""
        self._do("start", daemon=daemon)

    def stop(self, daemon: str) -> None:
        """End one of them as a crash would."""
        self._do("stop", daemon=daemon)

    def close(self) -> None:
        """Switch the machine off."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what a machine that broke down has left behind
        self._process.wait()
        self._process.stdout.close()
        self.system_bus.close()
        self.session_bus.close()

    def __enter__(self) -> "Laptop":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StartLaptop(Protocol):
    """Starts a laptop that lives as long as the test."""

    def __call__(self, percent: float | None = 80.0, has_firmware: bool = True) -> Laptop: ...
