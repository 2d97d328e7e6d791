"""Which processes there are: those that take requests or will, those that leave, and those that wait for memory."""

from ollama_proxyd.core.residency import Place
from ollama_proxyd.services.engines.running import Running


class Roster:
    """The pool's lists; one place has at most one process that takes requests."""

    def __init__(self) -> None:
        self.current: dict[Place, Running] = {}
        self.leaving: list[Running] = []
        self.queue: list[Running] = []
        """Those that wait for memory, the first first."""

    @property
    def all(self) -> list[Running]:
        """Those of `current` first."""
        return [*self.current.values(), *self.leaving]

    @property
    def held(self) -> list[Running]:
        """Those that have memory."""
        return [each for each in self.all if each.is_held]

    @property
    def idle(self) -> list[Running]:
        """Those that could answer, and have nothing to do."""
        return [each for each in self.current.values() if each.is_ready and not each.users]

    @property
    def units(self) -> list[Running]:
        """Those that answer, and could without this daemon."""
        own = [each for each in self.current.values() if each.is_ready and not each.file.is_store]
        return [each for each in own if each.process is not None and each.process.unit is not None]

    def ready(self, backend_id: str) -> tuple[Running, ...]:
        """The processes of a backend that take requests now."""
        return tuple(each for at, each in self.current.items() if at.backend_id == backend_id and each.is_ready)

    def wait(self, running: Running) -> None:
        """It takes requests once there is memory for it."""
        self.current[running.place] = running
        self.queue.append(running)

    def take(self, running: Running) -> None:
        """It has memory, and takes requests once it answers."""
        self.current[running.place] = running
        if running in self.queue:
            self.queue.remove(running)

    def leave(self, running: Running) -> None:
        """It takes no new requests."""
        if self.current.get(running.place) is running:
            del self.current[running.place]
        if running not in self.leaving:
            self.leaving.append(running)

    def forget(self, running: Running) -> None:
        """It is gone."""
        if self.current.get(running.place) is running:
            del self.current[running.place]
        for each in (self.queue, self.leaving):
            if running in each:
                each.remove(running)
