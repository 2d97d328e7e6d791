"""ie.fio.OllamaProxy.Backend: one backend as an object of its own."""

from collections.abc import Callable
from typing import Any

from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.modes import ModeSetting
from ollama_proxyd.core.readings import SystemState
from ollama_proxyd.core.status import backend_status
from ollama_proxyd.edges.dbus_api.contract import ROOT_PATH, contract
from ollama_proxyd.edges.dbus_api.exported import Exported
from ollama_proxyd.edges.dbus_api.signals import SignalSender
from ollama_proxyd.edges.dbus_api.values import properties
from ollama_proxyd.services.cell import Cell

PARENT_PATH = f"{ROOT_PATH}/Backends"


def path_of(backend_id: str) -> str:
    """The object's path; bytes that a path cannot have are written as an underscore and two hexadecimal digits."""
    plain = (chr(byte) if chr(byte).isalnum() and byte < 128 else f"_{byte:02x}" for byte in backend_id.encode())
    return f"{PARENT_PATH}/{''.join(plain)}"


class Backend:
    """The object of one backend; `view` is what was last known of it."""

    def __init__(
        self,
        view: BackendView,
        system: Cell[SystemState],
        setting: Cell[ModeSetting],
        sender: SignalSender,
        enable: Callable[[str, bool], None],
    ) -> None:
        self.view = view
        self._system = system
        self._setting = setting
        self.exported = Exported(
            path=path_of(view.spec.id),
            contract=contract("Backend"),
            sender=sender,
            values=self._values,
            setters={"Enabled": lambda enabled: enable(view.spec.id, enabled)},
        )

    def look_at(self, view: BackendView) -> None:
        """Take note of what is known now, and tell at once what cannot wait."""
        before, self.view = self.view, view
        if _steady_part(before) != _steady_part(view):
            self.exported.tell(measured=False)

    def _values(self) -> dict[str, Any]:
        return properties(contract("Backend"), backend_status(self.view, self._system.value, self._setting.value.row))


def _steady_part(view: BackendView) -> tuple[object, ...]:
    """What a request that comes or goes does not change: comparing it is cheap, and requests are many."""
    return view.spec, view.health, view.reason, view.models
