"""Where signals leave: an object's own, and each change of its properties once; without a bus they go nowhere."""

from collections.abc import Mapping
from typing import Any

from dbus_fast import Message, Variant

from ollama_proxyd.edges.dbus_api.contract import Contract
from ollama_proxyd.edges.dbus_api.standard import PROPERTIES
from ollama_proxyd.edges.dbus_api.values import sendable
from ollama_proxyd.edges.plumbing.dbus import Bus, BusError


class Outlet:
    """The way out to the bus, while there is one."""

    def __init__(self) -> None:
        self.bus: Bus | None = None

    def send(self, message: Message) -> None:
        """Send a message, with texts that the bus takes; a bus that was lost a moment ago is no news here."""
        if self.bus is None:
            return
        message.body = sendable(message.body)
        try:
            self.bus.send(message)
        except BusError:
            self.bus = None

    def signal(self, path: str, interface: str, member: str, signature: str, *body: Any) -> None:
        """Tell everybody who listens."""
        self.send(Message.new_signal(path, interface, member, signature, list(body)))


class Voice:
    """What one object tells of itself."""

    def __init__(self, path: str, contract: Contract, outlet: Outlet, values: Mapping[str, Any]) -> None:
        self.path = path
        self._contract = contract
        self._outlet = outlet
        self._told = dict(values)

    def say(self, signal: str, *body: Any) -> None:
        """Send one of the object's signals."""
        signature = self._contract.signals[signal].signature
        self._outlet.signal(self.path, self._contract.name, signal, signature, *body)

    def tell(self, values: Mapping[str, Any]) -> None:
        """Tell which of these properties have changed since they were told; values in a list find NaN equal to NaN."""
        news = {name: value for name, value in values.items() if [self._told[name]] != [value]}
        if not news:
            return
        self._told.update(news)
        changed = {name: Variant(self._contract.properties[name].signature, value) for name, value in news.items()}
        self._outlet.signal(self.path, PROPERTIES, "PropertiesChanged", "sa{sv}as", self._contract.name, changed, [])
