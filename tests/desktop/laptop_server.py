"""The inside of the fake laptop: a sysfs tree of umockdev's, and the real upowerd and power-profiles-daemon on it.

Runs under umockdev-wrapper with the system's Python and does what it reads: one JSON object a line with the name of a
method of Machine and its arguments; answers each with a line. It and its daemons end at the end of its input.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import Gio, GLib, UMockdev  # noqa: E402 - the version has to be said first

PATIENCE_S = 10.0
FULL_UWH = 50_000_000
AGAIN_S = 1.3
"""After which a battery tells of another draw: Auto waits for a second sample, and takes none within a second."""
OTHER_DRAW_UW = 20_000
FILES_EACH = 16
"""More than any of the daemons has open when it begins to listen."""
SHIFT = """import os, sys
for number in range(3, int(sys.argv[1])):
    os.dup2(1, number)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Starts a command whose own files begin at a number. umockdev delivers uevents to sockets that it names after the
number of the listener's file, so that no two daemons may have the same."""
UPOWER_CONF = """[UPower]
UsePercentageForPolicy=true
PercentageLow=20
PercentageCritical=5
PercentageAction=2
CriticalPowerAction=HybridSleep
NoPollBatteries=false
IgnoreLid=false
"""
DAEMONS = {
    "upower": ("org.freedesktop.UPower", ["/usr/libexec/upowerd", "-v"]),
    "polkit": (
        "org.freedesktop.PolicyKit1",
        [sys.executable, "-m", "dbusmock", "--system", "--template", "polkitd"],
    ),
    "power-profiles": ("net.hadess.PowerProfiles", ["/usr/libexec/power-profiles-daemon", "-v"]),
}
"""Each daemon's bus name and how to start it, in the order in which they need each other."""


class Machine:
    """The devices of a laptop and the daemons that look at them."""

    def __init__(self) -> None:
        self._bed = UMockdev.Testbed.new()
        self._root = Path(self._bed.get_root_dir())
        self._sys = Path(self._bed.get_sys_dir())
        # The test bed has said this with setenv(), which Python's own copy of the environment does not see.
        os.environ["UMOCKDEV_DIR"] = str(self._root)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._bus = Gio.DBusConnection.new_for_address_sync(
            os.environ["DBUS_SYSTEM_BUS_ADDRESS"],
            Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION,
            None,
            None,
        )
        (self._root / "UPower.conf").write_text(UPOWER_CONF)
        self._add_processor()
        self._mains = self._add_device("power_supply", "AC", {"type": "Mains", "online": 1})
        self._battery = None
        self._keyboard = None
        self._again: threading.Timer | None = None
        self._draw_uw = 0
        self.turn = threading.Lock()

    # devices

    def _add_device(self, subsystem, name, attributes):
        return self._bed.add_device(
            subsystem, name, None, [str(word) for pair in attributes.items() for word in pair], []
        )

    def _set(self, device, attributes):
        for name, value in attributes.items():
            self._bed.set_attribute(device, name, str(value))
        self._bed.uevent(device, "change")

    def _write(self, path, value):
        file = self._sys / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")

    def add_firmware(self):
        """A ThinkPad's firmware, with profiles of its own; power-profiles-daemon looks for it only when it starts."""
        self._keyboard = self._add_device("platform", "thinkpad_acpi", {"dytc_lapmode": 0})
        self._write("firmware/acpi/platform_profile_choices", "low-power balanced performance")
        self._write("firmware/acpi/platform_profile", "balanced")

    def _add_processor(self):
        pstate = {"status": "active", "no_turbo": 0, "turbo_pct": 50}  # without a turbo nobody looks at no_turbo
        policy = {
            "energy_performance_preference": "balance_performance",
            "energy_performance_available_preferences": "default performance balance_performance balance_power power",
            "scaling_governor": "powersave",
            "scaling_driver": "intel_pstate",
            "cpuinfo_max_freq": 4_800_000,
            "cpuinfo_min_freq": 400_000,
        }
        for name, value in pstate.items():
            self._write(f"devices/system/cpu/intel_pstate/{name}", value)
        for name, value in policy.items():
            self._write(f"devices/system/cpu/cpufreq/policy0/{name}", value)

    def add_battery(self, percent, status):
        """Put a battery in."""
        attributes = {
            "type": "Battery",
            "present": 1,
            "technology": "Li-ion",
            "energy_full": FULL_UWH,
            "energy_full_design": FULL_UWH,
            "voltage_now": 12_000_000,
            "voltage_min_design": 11_400_000,
            "power_now": 8_500_000,
            "manufacturer": "ACME",
            "model_name": "MOCK",
            "serial_number": "1",
            **self._charge(percent, status),
        }
        self._battery = self._add_device("power_supply", "BAT0", attributes)

    @staticmethod
    def _charge(percent, status):
        return {"capacity": int(percent), "energy_now": int(FULL_UWH * percent / 100), "status": status}

    def set_battery(self, percent, status, power_w):
        """What the battery says now; status is the kernel's word (Charging, Discharging, Not charging, Full)."""
        self._draw_uw = int(power_w * 1e6)
        self._set(self._battery, {**self._charge(percent, status), "power_now": self._draw_uw})
        self._say_again_soon()

    def _say_again_soon(self):
        self._again = threading.Timer(AGAIN_S, self._say_again)
        self._again.daemon = True
        self._again.start()

    def _say_again(self):
        with self.turn:
            if self._draw_uw and self._again is threading.current_thread():  # nothing has happened since
                self._draw_uw += OTHER_DRAW_UW
                self._set(self._battery, {"power_now": self._draw_uw})

    def remove_battery(self):
        """Take the battery out."""
        self._again = None
        self._bed.uevent(self._battery, "remove")
        self._bed.remove_device(self._battery)

    def set_mains(self, online):
        """Plug the charger in or out."""
        self._set(self._mains, {"online": int(online)})

    def set_lap(self, on_lap):
        """Lay the machine on a lap, as a ThinkPad feels it."""
        self._set(self._keyboard, {"dytc_lapmode": int(on_lap)})

    def set_turbo(self, allowed):
        """Let the processor's firmware forbid its turbo because of heat."""
        self._write("devices/system/cpu/intel_pstate/no_turbo", int(not allowed))

    def press_profile_key(self, profile):
        """Set the firmware's profile (low-power, balanced, performance) as a key on the keyboard does."""
        self._write("firmware/acpi/platform_profile", profile)

    # daemons

    def start(self, daemon):
        """Start a daemon and wait until it is on the bus."""
        name, command = DAEMONS[daemon]
        state = self._root / f"{daemon}-state"
        state.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "UPOWER_CONF_FILE_NAME": str(self._root / "UPower.conf"),
            "UPOWER_HISTORY_DIR": str(state),
            "UPOWER_STATE_DIR": str(state),
            "STATE_DIRECTORY": str(state),
        }
        log = self._root / f"{daemon}.log"
        first_free = 3 + FILES_EACH * list(DAEMONS).index(daemon)
        shifted = [sys.executable, "-ISc", SHIFT, str(first_free), *command]
        with log.open("w") as output:
            process = subprocess.Popen(shifted, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        self._running[daemon] = process
        deadline_s = time.monotonic() + PATIENCE_S
        while not self._is_owned(name):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"{daemon} did not come up (status {process.poll()}):\n{log.read_text()[-3000:]}")
            time.sleep(0.005)
        if daemon == "polkit":
            authority = "/org/freedesktop/PolicyKit1/Authority"
            self._call(name, authority, "org.freedesktop.DBus.Mock", "AllowUnknown", GLib.Variant("(b)", (True,)))
        elif daemon == "upower":
            self._say_again_soon()

    def stop(self, daemon):
        """End a daemon as a crash would."""
        process = self._running.pop(daemon)
        process.kill()
        process.wait()

    def _is_owned(self, name):
        bus = "org.freedesktop.DBus"
        return self._call(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", GLib.Variant("(s)", (name,)))[0]

    def _call(self, *question):
        return self._bus.call_sync(*question, None, Gio.DBusCallFlags.NONE, -1, None).unpack()

    def close(self):
        """End everything that runs."""
        for daemon in list(self._running):
            self.stop(daemon)


def serve() -> None:
    """Answer every line until there are no more."""
    machine = Machine()
    print(json.dumps({"ok": "ready"}), flush=True)  # noqa: T201 - it is how the two sides speak
    try:
        for line in sys.stdin:
            order = json.loads(line)
            try:
                with machine.turn:
                    answer = {"ok": getattr(machine, order.pop("do"))(**order)}
            except (RuntimeError, OSError, GLib.Error) as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)  # noqa: T201 - it is how the two sides speak
    finally:
        machine.close()


if __name__ == "__main__":
    serve()
