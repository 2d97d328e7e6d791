"""The part of systemd's user manager that is used, on a bus of the test's own: org.freedesktop.systemd1(5)."""

import os
from collections.abc import Callable
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from tests.desktop.private_bus import PrivateBus

NAME = "org.freedesktop.systemd1"
JOB = "/org/freedesktop/systemd1/job/7"
UNITS = "/org/freedesktop/systemd1/unit/"


class FakeManager:
    """Units that are started and stopped at once; `changed` hears of each."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.jobs: list[tuple[str, str, str]] = []
        self.changed: Callable[[str, str], None] = lambda _unit, _state: None
        self.job_of_own: str | None = None
        """The type of the job of the test's own unit."""
        self._bus: MessageBus | None = None

    async def start(self, bus: PrivateBus) -> None:
        self._bus = await MessageBus(bus_address=bus.address).connect()
        self._bus.add_message_handler(self._answer)
        await self._bus.request_name(NAME)

    async def close(self) -> None:
        if self._bus is not None:
            self._bus.disconnect()

    def _answer(self, message: Message) -> Message | bool:
        is_ours = str(message.path).startswith("/org/freedesktop/systemd1")
        if message.message_type is not MessageType.METHOD_CALL or not is_ours:
            return False
        try:
            signature, body = getattr(self, f"_{message.member}")(message)
        except KeyError as error:
            return Message.new_error(message, f"{NAME}.NoSuchUnit", f"Unit {error.args[0]} not found.")
        return Message.new_method_return(message, signature, body)

    def _LoadUnit(self, message: Message) -> tuple[str, list[Any]]:  # noqa: N802 - the bus's own name
        return "o", [UNITS + message.body[0].replace(".", "_2e")]

    def _Get(self, message: Message) -> tuple[str, list[Any]]:  # noqa: N802
        job = self.job_of_own
        if message.body == [f"{NAME}.Unit", "Job"]:
            return "v", [Variant("(uo)", [0, "/"] if job is None else [7, JOB])]
        if message.body == [f"{NAME}.Job", "JobType"]:
            return "v", [Variant("s", str(job))]
        unit = str(message.path).removeprefix(UNITS).replace("_2e", ".")
        assert message.body == [f"{NAME}.Unit", "ActiveState"]
        return "v", [Variant("s", self.states.get(unit, "inactive"))]

    def _GetUnitByPID(self, message: Message) -> tuple[str, list[Any]]:  # noqa: N802
        if message.body != [os.getpid()]:
            raise KeyError(message.body[0])
        return "o", [UNITS + "own_2eservice"]

    def _StartUnit(self, message: Message) -> tuple[str, list[Any]]:  # noqa: N802
        return self._job(message, "active")

    def _StopUnit(self, message: Message) -> tuple[str, list[Any]]:  # noqa: N802
        return self._job(message, "inactive")

    def _job(self, message: Message, state: str) -> tuple[str, list[Any]]:
        unit, mode = message.body
        if unit not in self.states:
            raise KeyError(unit)
        self.jobs.append((str(message.member), unit, mode))
        self.states[unit] = state
        self.changed(unit, state)
        return "o", ["/org/freedesktop/systemd1/job/1"]
