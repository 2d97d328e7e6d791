"""All objects of the daemon on the bus, and the one place where calls to them arrive.

The root is the ObjectManager of all, so that one call tells everything, as UDisks and BlueZ do.
"""

from collections.abc import Awaitable
from inspect import isawaitable
from typing import Any

from dbus_fast import DBusError, ErrorType, Message, MessageFlag, MessageType

from ollama_proxyd.core.fields import LONGEST_NAME
from ollama_proxyd.core.text import cut
from ollama_proxyd.edges.dbus_api.contract import ROOT_PATH
from ollama_proxyd.edges.dbus_api.exported import Answer, Exported, SignalSender
from ollama_proxyd.edges.dbus_api.standard import INTROSPECTABLE, OBJECT_MANAGER, PEER, PROPERTIES, check_call, describe
from ollama_proxyd.services.tasks import Tasks


class Objects:
    """The tree of objects."""

    def __init__(self, sender: SignalSender, tasks: Tasks) -> None:
        self._sender = sender
        self._tasks = tasks
        self._by_path: dict[str, Exported] = {}

    def add(self, exported: Exported) -> None:
        """Show an object; once the root is there, it says so."""
        has_root = ROOT_PATH in self._by_path
        self._by_path[exported.path] = exported
        if has_root:
            added = {exported.contract.name: exported.all_properties()}
            self._sender.signal(ROOT_PATH, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", exported.path, added)

    def remove(self, path: str) -> None:
        """Remove an object."""
        gone = self._by_path.pop(path)
        self._sender.signal(ROOT_PATH, OBJECT_MANAGER, "InterfacesRemoved", "oas", path, [gone.contract.name])

    def handle(self, message: Message) -> bool:
        """Answer a call; whether it was one (Peer is left to the library)."""
        if message.message_type is not MessageType.METHOD_CALL or message.interface == PEER:
            return False
        try:
            answer = self._answer(message)
        except DBusError as error:
            self._reply(message, error)
            return True
        if isawaitable(answer):
            self._tasks.start(str(message.member), self._reply_later(message, answer))
        else:
            self._reply(message, answer)
        return True

    def _answer(self, message: Message) -> Answer | Awaitable[Answer]:
        path, interface = str(message.path), message.interface
        exported = self._by_path.get(path)
        if interface == INTROSPECTABLE:
            return self._introspect(message, exported)
        if exported is None:
            raise _no_object(path)
        if interface == PROPERTIES:
            return exported.property_call(message)
        if interface == OBJECT_MANAGER and path == ROOT_PATH:
            check_call(message, {"GetManagedObjects": ""})
            return "a{oa{sa{sv}}}", [self._managed()]
        if interface not in {None, exported.contract.name}:
            raise DBusError(ErrorType.UNKNOWN_INTERFACE, f"{path} has no interface {interface}")
        return exported.call(message)

    def _introspect(self, message: Message, exported: Exported | None) -> Answer:
        check_call(message, {"Introspect": ""})
        path = str(message.path)
        below = path.rstrip("/") + "/"
        children = sorted({each[len(below) :].split("/")[0] for each in self._by_path if each.startswith(below)})
        if exported is not None:
            return "s", [describe(exported.contract.description, children, is_manager=path == ROOT_PATH)]
        if not children:
            raise _no_object(path)
        return "s", [describe(None, children, is_manager=False)]

    async def _reply_later(self, message: Message, answer: Awaitable[Answer]) -> None:
        try:
            self._reply(message, await answer)
        except DBusError as error:
            self._reply(message, error)

    def _reply(self, message: Message, answer: Answer | DBusError) -> None:
        if message.flags & MessageFlag.NO_REPLY_EXPECTED:
            return
        if isinstance(answer, DBusError):
            self._sender.send(Message.new_error(message, answer.type, answer.text))
        else:
            self._sender.send(Message.new_method_return(message, *answer))

    def _managed(self) -> dict[str, Any]:
        below = (each for path, each in self._by_path.items() if path != ROOT_PATH)
        return {each.path: {each.contract.name: each.all_properties()} for each in below}


def _no_object(path: str) -> DBusError:
    shown = cut(path, LONGEST_NAME)
    return DBusError(ErrorType.UNKNOWN_OBJECT, f"there is no object {shown}; the objects lie below {ROOT_PATH}")
