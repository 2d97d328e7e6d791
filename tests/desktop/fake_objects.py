"""A program on a bus that owns names and has objects with properties, as a test wants them."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

Interface: TypeAlias = tuple[str, str]
"""An object's path and the name of its interface."""

PROPERTIES = "org.freedesktop.DBus.Properties"


class FakeObjects:
    """Its objects' properties; `change` tells of a change, `hide` makes one without telling the value.

    questions: what was asked for. is_mute: nothing is answered. afterword: what it does right after an answer.
    """

    def __init__(self, objects: Mapping[Interface, Mapping[str, Variant]]) -> None:
        self.objects: dict[Interface, dict[str, Variant]] = {key: dict(values) for key, values in objects.items()}
        self.questions: list[tuple[str | None, str | None]] = []
        self.is_mute = False
        self.afterword: Callable[[], None] | None = None
        self._bus: MessageBus | None = None

    async def start(self, address: str, *names: str) -> "FakeObjects":
        self._bus = await MessageBus(bus_address=address).connect()
        self._bus.add_message_handler(self._answer)
        for name in names:
            await self._bus.request_name(name)
        return self

    @property
    def bus(self) -> MessageBus:
        assert self._bus is not None
        return self._bus

    def _answer(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL or message.interface != PROPERTIES:
            return None
        self.questions.append((message.path, message.member))
        if self.is_mute:
            return True
        values = self.objects.get((message.path or "", message.body[0]))
        if values is None:
            return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownObject", "no such object")
        self.bus.send(Message.new_method_return(message, "a{sv}", [dict(values)]))
        if self.afterword is not None:
            self.afterword()
        return True

    def change(self, interface: Interface, **values: Variant) -> None:
        self.objects[interface].update(values)
        self._tell(interface, values, [])

    def hide(self, interface: Interface, **values: Variant) -> None:
        self.objects[interface].update(values)
        self._tell(interface, {}, list(values))

    def _tell(self, interface: Interface, changed: Mapping[str, Variant], invalidated: list[str]) -> None:
        path, name = interface
        body: list[Any] = [name, dict(changed), invalidated]
        self.bus.send(Message.new_signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body))

    async def stop(self) -> None:
        if self._bus is not None and self._bus.connected:
            self._bus.disconnect()
            await self._bus.wait_for_disconnect()
