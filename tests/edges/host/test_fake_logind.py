"""The fake logind keeps what the real one keeps; tests/box/test_box_logind.py checks that one."""

import asyncio

from dbus_fast.aio import MessageBus

from tests.desktop.private_bus import PrivateBus
from tests.edges.host.fake_logind import FakeLogind
from tests.edges.host.logind_contract import Contract


async def test_the_fake_is_as_the_daemon_believes_logind_to_be(private_bus: PrivateBus) -> None:
    fake = FakeLogind()
    await fake.start(private_bus.address)
    bus = await MessageBus(bus_address=private_bus.address, negotiate_unix_fd=True).connect()

    async def suspend() -> None:
        fake.tell(sleeps=True)
        await fake.locks[-1].released()
        fake.tell(sleeps=False)

    async def is_held() -> bool:
        await asyncio.sleep(0)
        return fake.locks[-1].is_held

    try:
        await Contract(bus, suspend, is_held).check()
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()
        await fake.close()
