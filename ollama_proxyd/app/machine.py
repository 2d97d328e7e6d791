"""The machine around the daemon: its sensors, and the buses on which some of them and our own service are."""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from dbus_fast import BusType

from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.readings import SENSORS_OFF
from ollama_proxyd.edges.dbus_api.service import BusService
from ollama_proxyd.edges.host.inhibitor import StayingAwake
from ollama_proxyd.edges.host.logind import SleepWatch
from ollama_proxyd.edges.host.power_profile import HeldProfile
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.sensors.bus_sensor import BusSensor
from ollama_proxyd.edges.sensors.desktop_services import GAME_COUNT, POWER, POWER_PROFILES
from ollama_proxyd.edges.sensors.hotplug import Hotplug
from ollama_proxyd.edges.sensors.machine import sensors
from ollama_proxyd.services.activity import Activity
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import Clock
from ollama_proxyd.services.sensing import Sensing
from ollama_proxyd.services.sleep import Awake, Sleep
from ollama_proxyd.services.tasks import Tasks
from ollama_proxyd.services.watching import Pace

log = logging.getLogger(__name__)


class Machine:
    """Listens to the machine from `listen` on, and shows the daemon on the bus from `show` on, until `close`."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._sensors = config.sensors
        self._is_shown = config.bus.enabled
        self._sleep = config.sleep
        self._clock = clock
        self._tasks = Tasks("machine")
        self._system_bus = BusLine(BusType.SYSTEM, clock, takes_files=True)
        self._session_bus = BusLine(BusType.SESSION, clock)
        self._service: BusService | None = None

    def listen(self, services: Services, sensing: Sensing, activity: Activity) -> None:
        """Have the sensors tell what they see, if they may."""
        if not self._sensors.enabled:
            sensing.report("sensors", SENSORS_OFF)
            return
        polled = sensors(self._sensors.sysfs_root, self._clock, partial(is_in_use, services))
        signals = (
            BusSensor(POWER, self._system_bus, self._clock),
            BusSensor(POWER_PROFILES, self._system_bus, self._clock),
            BusSensor(GAME_COUNT, self._session_bus, self._clock),
            Hotplug(polled),
        )
        sensing.watch(polled, signals, self._tasks, Pace(self._clock, activity, self._sensors.pace))
        held = HeldProfile(services.power_saver)
        self._tasks.start("power-saver", self._system_bus.keep(held.follow, lambda _: None))
        self._tasks.start("system-bus", self._look_for_the_system_bus())

    async def show(self, services: Services, url: str, grpc_endpoint: str) -> None:
        """Be on the session bus as soon as there is one, if that is wanted.

        url: where clients find the daemon. grpc_endpoint: what those of gRPC call, "" where it is not served.
        """
        if self._is_shown:
            self._service = BusService(services, self._session_bus, self._clock, url, grpc_endpoint)
            await self._service.start()

    def prepare_for_sleep(self, sleep: Sleep, awake: Awake) -> None:
        """Have logind tell of the machine's sleep, and hold it off, as far as that is wanted."""
        if self._sleep.enabled:
            watch = SleepWatch(sleep)
            self._tasks.start("logind", self._system_bus.keep(watch.follow, watch.say_missing))
        if self._sleep.block_while_generating:
            staying = StayingAwake(awake.is_wanted)
            awake.follow(self._tasks)
            self._tasks.start("awake", self._system_bus.keep(staying.follow, lambda _: None))

    @property
    def bus_trouble(self) -> Cell[str | None]:
        """What is wrong with our place on the session bus; "" where nothing is, or none is wanted."""
        return Cell("") if self._service is None else self._service.trouble

    async def settled(self, within_s: float) -> None:
        """Wait until it is known how we stand on the session bus, at most for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.bus_trouble.until(lambda trouble: trouble is not None)

    async def withdraw(self) -> None:
        """Give the names on the session bus back, once what has come for them is answered."""
        if self._service is not None:
            await self._service.withdraw()

    async def come_back(self) -> None:
        """Take them again."""
        if self._service is not None:
            with suppress(OSError):  # a bus that is lost is looked for anyway
                await self._service.come_back()

    async def close(self) -> None:
        """Stop the sensors and leave the buses."""
        if self._service is not None:
            await self._service.stop()
        await self._tasks.close()
        await self._session_bus.close()
        await self._system_bus.close()

    async def _look_for_the_system_bus(self) -> None:
        """Say once what the machine will not tell; the sensors go on looking by themselves."""
        try:
            await self._system_bus.bus()
        except OSError as error:
            log.warning("nothing is known of battery and power profile until there is a system bus: %s", error)


def is_in_use(services: Services, pci_address: str) -> bool:
    """Whether requests run on the device with this address; any thread may ask."""
    devices = services.system.value.devices
    working = (device_of(spec, devices) for spec in services.fleet.at_work())
    return any(device is not None and device.id == pci_address for device in working)
