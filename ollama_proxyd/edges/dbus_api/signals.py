"""Sends messages and signals on a bus."""

from contextlib import suppress
from typing import Any

from dbus_fast import Message

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
