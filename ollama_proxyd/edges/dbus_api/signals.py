"""Signals of the daemon's objects: their own, and PropertiesChanged for each change once."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dbus_fast import Message, Variant

from ollama_proxyd.edges.dbus_api.contract import Contract
from ollama_proxyd.edges.dbus_api.standard import PROPERTIES
from ollama_proxyd.edges.dbus_api.values import sendable
from ollama_proxyd.edges.plumbing.dbus import Bus, BusError


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


class PropertyEmitter:
    """The signals of one object."""

    def __init__(self, path: str, contract: Contract, sender: SignalSender, values: Mapping[str, Any]) -> None:
        self.path = path
        self._contract = contract
        self._sender = sender
        self._told = dict(values)

    def signal(self, signal: str, *body: Any) -> None:
        """Send one of the object's signals."""
        signature = self._contract.signals[signal].signature
        self._sender.signal(self.path, self._contract.name, signal, signature, *body)

    def update(self, values: Mapping[str, Any]) -> None:
        """Signal those of these properties that have changed; values in a list find NaN equal to NaN."""
        news = {name: value for name, value in values.items() if [self._told[name]] != [value]}
        if not news:
            return
        self._told.update(news)
        changed = {name: Variant(self._contract.properties[name].signature, value) for name, value in news.items()}
        self._sender.signal(self.path, PROPERTIES, "PropertiesChanged", "sa{sv}as", self._contract.name, changed, [])
