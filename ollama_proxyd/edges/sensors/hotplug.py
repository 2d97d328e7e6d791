"""Devices that come and go, as udev tells: what sensors have found is then looked up anew."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

from ollama_proxyd.core.readings import Sensed
from ollama_proxyd.edges.sensors.sampled import Sampled

log = logging.getLogger(__name__)

SUBSYSTEMS: Final = ("accel", "drm", "hwmon", "pci", "powercap")
"""Not power_supply: it speaks with every percent of a battery, and no sensor here looks at one."""
UDEV_CONTROL: Final = Path("/run/udev/control")


Monitor: TypeAlias = Any
"""pyudev's monitor; the library has no types."""


def udev_monitor() -> Monitor:
    """A monitor of the subsystems that matter; raises OSError or ImportError where udev is missing."""
    if not UDEV_CONTROL.exists():  # libudev would then wait in silence
        raise OSError(f"udevd does not run ({UDEV_CONTROL} is not there)")
    import pyudev  # noqa: PLC0415 - 0.6 MB that are spared where udevd does not run

    monitor = pyudev.Monitor.from_netlink(pyudev.Context())
    for subsystem in SUBSYSTEMS:
        monitor.filter_by(subsystem)
    monitor.start()
    return monitor


class Hotplug:
    """A SignalSensor that measures nothing itself: on every event the given sensors look again.

    Its empty report says that asking them now is worth it.
    """

    name = "hotplug"

    def __init__(self, sensors: Iterable[Sampled], connect: Callable[[], Monitor] = udev_monitor) -> None:
        self._sensors = tuple(sensors)
        self._connect = connect

    async def follow(self, report: Callable[[Sensed], None]) -> None:
        """Follow udev until cancelled; where that cannot be, say so once and leave it to the sensors' own relisting."""
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        try:
            monitor = self._connect()
        except (ImportError, OSError) as error:
            log.info("devices that come and go are seen late: %s", error)
            await ended
            return
        descriptor = monitor.fileno()
        loop.add_reader(descriptor, self._happened, monitor, report)
        try:
            await ended
        finally:
            loop.remove_reader(descriptor)

    def _happened(self, monitor: Monitor, report: Callable[[Sensed], None]) -> None:
        """Take every event that waits; which ones were lost in a flood does not matter."""
        try:
            while monitor.poll(0) is not None:
                pass
        except OSError as error:
            log.debug("udev events were lost: %s", error)
        for sensor in self._sensors:
            sensor.rediscover()
        report(Sensed())
