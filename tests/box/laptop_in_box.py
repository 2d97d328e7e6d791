"""The fake laptop inside a box: its files under /sys, and the events by which udev tells of a change."""

import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.box.box import Box
from tests.upstreams.sysfs_tree import SysfsTree

NETLINK_KOBJECT_UEVENT = 15
UDEV_GROUP = 2
MAGIC = 0xFEEDCAFE
SUPPLIES = "devices/virtual/power_supply"


def murmur2(data: bytes) -> int:
    """MurmurHash2 with the seed 0, by which listeners let the kernel sort out the subsystems that they want."""
    factor, mask = 0x5BD1E995, 0xFFFFFFFF
    value = len(data)
    whole = len(data) // 4 * 4
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * factor & mask
        mixed = (mixed ^ mixed >> 24) * factor & mask
        value = value * factor & mask ^ mixed
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * factor & mask
    value = (value ^ value >> 13) * factor & mask
    return value ^ value >> 15


def message(properties: Mapping[str, str]) -> bytes:
    """What udevd sends to those who listen, as libudev understands it."""
    body = b"".join(f"{name}={value}\0".encode() for name, value in properties.items())
    header = b"libudev\0" + struct.pack(">I", MAGIC) + struct.pack("=III", 40, 40, len(body))
    return header + struct.pack(">IIII", murmur2(properties["SUBSYSTEM"].encode()), 0, 0, 0) + body


def send(properties: Mapping[str, str]) -> None:
    """Tell everybody in this network name space, as root."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as way:
        way.bind((0, 0))
        way.sendto(message(properties), (0, UDEV_GROUP))


class LaptopInBox:
    """A laptop on battery at 80 % as it is switched on; what is changed here, its daemons hear of."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._events = 100_000
        self.sysfs = SysfsTree(box.path("/sys"))

    def happened(self, device: str, subsystem: str, action: str = "change") -> None:
        """Have udev tell of a device, by its path below /sys."""
        self._events += 1
        properties = {"ACTION": action, "DEVPATH": f"/{device}", "SUBSYSTEM": subsystem, "SEQNUM": str(self._events)}
        uevent = self.sysfs.path(f"{device}/uevent").read_text(encoding="utf-8").splitlines()
        properties |= {"USEC_INITIALIZED": "1"} | dict(line.split("=", 1) for line in uevent if "=" in line)
        words = [f"{name}={value}" for name, value in properties.items()]
        # As the box's root, whose messages udev's listeners believe.
        inside = ["nsenter", "--target", str(self._box.leader), "--net", "--"]
        root = Path(__file__).resolve().parents[2]
        subprocess.run([*inside, sys.executable, "-m", "tests.box.laptop_in_box", *words], check=True, cwd=root)

    def set_power(self, *, online: bool, percent: int) -> None:
        """Put the charger in or out, with the battery that full."""
        self.sysfs.write(f"{SUPPLIES}/AC/online", int(online))
        self.sysfs.write(f"{SUPPLIES}/BAT0/status", "Charging" if online else "Discharging")
        self.sysfs.write(f"{SUPPLIES}/BAT0/capacity", percent)
        self.sysfs.write(f"{SUPPLIES}/BAT0/energy_now", percent * 500_000)
        for supply in ("AC", "BAT0"):
            self.happened(f"{SUPPLIES}/{supply}", "power_supply")


if __name__ == "__main__":
    send(dict(word.split("=", 1) for word in sys.argv[1:]))
