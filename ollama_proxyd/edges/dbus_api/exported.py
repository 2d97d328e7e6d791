"""One object on the bus: how calls and properties reach what does the work, and how its changes are told."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from inspect import iscoroutine
from typing import Any, TypeAlias

from dbus_fast import DBusError, ErrorType, Message, Variant
from dbus_fast.introspection import Property

from ollama_proxyd.edges.dbus_api.contract import Contract
from ollama_proxyd.edges.dbus_api.standard import PROPERTIES, check_call
from ollama_proxyd.edges.dbus_api.values import sendable
from ollama_proxyd.edges.plumbing.dbus import Bus, BusError

Answer: TypeAlias = tuple[str, list[Any]]
"""A signature, and values of it."""

_PROPERTY_CALLS = {"Get": "ss", "Set": "ssv", "GetAll": "s"}


class SignalSender:
    """Sends messages on one bus, while it is there."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def send(self, message: Message) -> None:
        """Send a message, with texts that the bus takes."""
        message.body = sendable(message.body)
        with suppress(BusError):  # its loss is reported where it is waited for
            self._bus.send(message)

    def signal(self, path: str, interface: str, member: str, signature: str, *body: Any) -> None:
        """Broadcast a signal."""
        self.send(Message.new_signal(path, interface, member, signature, list(body)))


@dataclass(slots=True)
class Exported:
    """One object; each change of a property is told once.

    values: every property now. methods: by member; each takes the call's arguments and gives nothing, the one answer,
    a tuple of several, or a coroutine of these. personal: the methods that get the caller's unique name first.
    setters: by property.
    """

    path: str
    contract: Contract
    sender: SignalSender
    values: Callable[[], Mapping[str, Any]]
    methods: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    personal: frozenset[str] = frozenset()
    setters: Mapping[str, Callable[[Any], Awaitable[None]]] = field(default_factory=dict)
    _told: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self._told = dict(self.values())

    def signal(self, name: str, *body: Any) -> None:
        """Send one of the object's own signals."""
        self.sender.signal(self.path, self.contract.name, name, self.contract.signals[name].signature, *body)

    def tell(self, *, measured: bool = True) -> None:
        """Signal the properties that have changed, measurements only where they are wanted."""
        left_out = frozenset() if measured else self.contract.measured
        # Compared in lists, which find NaN equal to itself.
        news = {
            name: value
            for name, value in self.values().items()
            if name not in left_out and [self._told[name]] != [value]
        }
        if news:
            self._told |= news
            name, changed = self.contract.name, self._variants(news)
            self.sender.signal(self.path, PROPERTIES, "PropertiesChanged", "sa{sv}as", name, changed, [])

    def call(self, message: Message) -> Answer | Awaitable[Answer]:
        """Do what a call to its own interface asks."""
        member = check_call(message, {name: each.in_signature for name, each in self.contract.methods.items()})
        caller = (message.sender,) if member in self.personal else ()
        result = self.methods[member](*caller, *message.body)
        return self._later(member, result) if iscoroutine(result) else self._answer(member, result)

    def all_properties(self) -> dict[str, Variant]:
        """Every property as GetAll tells it."""
        return self._variants(self.values())

    def _variants(self, values: Mapping[str, Any]) -> dict[str, Variant]:
        return {name: Variant(self.contract.properties[name].signature, value) for name, value in values.items()}

    def property_call(self, message: Message) -> Answer | Awaitable[Answer]:
        """Do what a call to org.freedesktop.DBus.Properties asks."""
        member = check_call(message, _PROPERTY_CALLS)
        interface, *rest = message.body
        if interface not in {"", self.contract.name}:
            raise DBusError(ErrorType.UNKNOWN_INTERFACE, f"{self.path} has no properties of {interface}")
        if member == "GetAll":
            return "a{sv}", [self.all_properties()]
        wanted = self._property(rest[0])
        if member == "Get":
            return "v", [Variant(wanted.signature, self.values()[wanted.name])]
        return self._set(wanted, rest[1])

    async def _later(self, member: str, result: Awaitable[Any]) -> Answer:
        return self._answer(member, await result)

    def _answer(self, member: str, result: Any) -> Answer:
        method = self.contract.methods[member]
        many = len(method.out_args)
        return method.out_signature, list(result) if many > 1 else [result][:many]

    def _property(self, name: str) -> Property:
        wanted = self.contract.properties.get(name)
        if wanted is None:
            there_is = ", ".join(self.contract.properties)
            raise DBusError(ErrorType.UNKNOWN_PROPERTY, f"there is no property {name} here; there is: {there_is}")
        return wanted

    async def _set(self, wanted: Property, value: Variant) -> Answer:
        setter = self.setters.get(wanted.name)
        if setter is None:
            raise DBusError(ErrorType.PROPERTY_READ_ONLY, f"{wanted.name} can be read only")
        if value.signature != wanted.signature:
            text = f"{wanted.name} is of the type {wanted.signature}, not {value.signature}"
            raise DBusError(ErrorType.INVALID_ARGS, text)
        await setter(value.value)
        return "", []
