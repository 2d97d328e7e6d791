"""What commands ask of the running daemon, however it is reached."""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from ollama_proxyd.cli.pictures import BackendInfo, Efficiency, Machine, Routed, Served, Settings


class Daemon(Protocol):
    """A daemon that answers; every method raises Failed where it refuses or is gone."""

    @property
    def via(self) -> str:
        """How it is reached, for people: "D-Bus", or an address."""

    def efficiency(self) -> Efficiency:
        """The mode in force and the modes that there are."""

    def select(self, mode: str) -> None:
        """Put a mode in force."""

    def hold(self, mode: str, reason: str) -> None:
        """Hold a mode for as long as this connection lasts."""

    def backends(self) -> tuple[BackendInfo, ...]:
        """Each backend, in configured order."""

    def enable(self, backend_id: str, enabled: bool) -> None:
        """Let a backend be used, or not; the daemon remembers it."""

    def machine(self) -> Machine:
        """What the sensors say."""

    def served(self) -> Served:
        """What was done so far."""

    def settings(self) -> Settings:
        """When Auto takes which mode."""

    def change_settings(self, changes: Mapping[str, str]) -> None:
        """Change some settings as a person wrote them, all or none; the daemon remembers it."""

    def reset_settings(self, keys: Sequence[str]) -> None:
        """Go back to the configuration's values, of all settings where none is named."""

    def explain(self, question: Mapping[str, Any]) -> Any:
        """Where a request would go, in the words of POST /routing/explain."""

    def changes(self) -> Iterator[Routed | None]:
        """An item whenever something may have changed, at once for the first; ends only with the daemon."""

    def __enter__(self) -> Self:
        """Use it in a `with` statement."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """End the connection."""
