"""A daemon in a bad state, or one that tells little: it has what a test gives it, and answers as late as wanted."""

import asyncio
import threading
from collections.abc import Collection, Coroutine, Mapping
from types import TracebackType
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

NAME, ROOT = "ie.fio.OllamaProxy", "/ie/fio/OllamaProxy"
PROPERTIES = "org.freedesktop.DBus.Properties"
PATIENCE_S = 20.0
ERROR = f"{NAME}.Error.InvalidArgument"

Values = Mapping[str, Variant]


class StandIn:
    """Has the daemon's name from construction to `close`.

    efficiency, backends, others: the properties of its objects. held: the members that it answers only when it is told
    to `answer`. refused: what it answers with an error, as member -> message. asked: the members that were called.
    """

    def __init__(
        self,
        address: str,
        efficiency: Values,
        backends: Mapping[str, Values],
        refused: Mapping[str, str] | None = None,
        held: Collection[str] = (),
        others: Mapping[str, Values] | None = None,
    ) -> None:
        told = {"Efficiency": efficiency, **(others or {})}
        self.objects = {f"{ROOT}/{name}": (f"{NAME}.{name}", dict(values)) for name, values in told.items()}
        for name, values in backends.items():
            self.objects[f"{ROOT}/Backends/{name}"] = (f"{NAME}.Backend", dict(values))
        self.held = set(held)
        self._unanswered: list[Message] = []
        self.refused = dict(refused or {})
        self.asked: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._bus: MessageBus = self._wait(self._connect(address))
        self._wait(self._bus.request_name(NAME))

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    async def _connect(self, address: str) -> MessageBus:
        bus = await MessageBus(bus_address=address).connect()
        bus.add_message_handler(self._hear)
        return bus

    def _hear(self, message: Message) -> bool | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        member = str(message.member)
        self.asked.append(member)
        if member in self.held:
            self._unanswered.append(message)
        else:
            self._bus.send(self._reply(message))
        return True

    def _reply(self, message: Message) -> Message:
        member = str(message.member)
        if member in self.refused:
            return Message.new_error(message, ERROR, self.refused[member])
        if member == "GetManagedObjects":
            managed = {path: {name: its} for path, (name, its) in self.objects.items()}
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [managed])
        if member == "SetMode":
            self._change("Efficiency", {"CurrentMode": Variant("s", message.body[0])})
            return Message.new_method_return(message)
        return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", f"there is no {member}")

    def _change(self, where: str, values: Values) -> None:
        interface, known = self.objects[f"{ROOT}/{where}"]
        known.update(values)
        body: list[Any] = [interface, dict(values), []]
        self._bus.send(Message.new_signal(f"{ROOT}/{where}", PROPERTIES, "PropertiesChanged", "sa{sv}as", body))

    def change(self, where: str, **values: Variant) -> None:
        """Change properties of an object, and tell of it."""
        self._loop.call_soon_threadsafe(self._change, where, values)

    def answer(self) -> None:
        """Answer what was held, and hold nothing from now on."""
        self.held.clear()
        self._loop.call_soon_threadsafe(self._answer_all)

    def _answer_all(self) -> None:
        while self._unanswered:
            self._bus.send(self._reply(self._unanswered.pop(0)))

    def say(self, where: str, signal: str, signature: str, *body: Any) -> None:
        """Send a signal of one of its objects."""
        message = Message.new_signal(f"{ROOT}/{where}", f"{NAME}.{where}", signal, signature, list(body))
        self._loop.call_soon_threadsafe(self._bus.send, message)

    def close(self) -> None:
        self._bus.disconnect()
        self._wait(self._bus.wait_for_disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
