"""The last end of each process that was not meant to end, and why."""

import logging
from collections.abc import Container, Iterator

from ollama_proxyd.core.engine_instances import End, Ended
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.residency import Place
from ollama_proxyd.services.engines.running import Running
from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)


class Ends:
    """One for each model at a backend, until it has answered again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[Place, Ended] = {}

    def __iter__(self) -> Iterator[Ended]:
        return iter(tuple(self._last.values()))

    def note(self, running: Running, reason: Reason) -> None:
        """A process has ended that was not meant to."""
        before = self._last.get(running.place)
        times = 1 if before is None else before.times + 1
        self._last[running.place] = Ended(*running.place, reason, self._clock.unix(), times)
        log.warning("backend %s: %s", running.spec.id, reason)

    def note_end(self, running: Running, how: End) -> None:
        """One that answered has ended, by itself or since it did so no longer."""
        code = "engine_hung" if running.is_hung else "engine_ended"
        self.note(running, Reason(code, model=running.file.name, detail=how.words))

    def note_failure(self, running: Running, error: ProxyError) -> None:
        """One never was ready."""
        self.note(running, Reason("engine_not_loaded", model=running.file.name, detail=error.cause or error.message))

    def forget(self, place: Place) -> None:
        """It has answered."""
        self._last.pop(place, None)

    def keep_only(self, backend_ids: Container[str]) -> None:
        """Forget those at backends that are gone."""
        self._last = {place: last for place, last in self._last.items() if place.backend_id in backend_ids}

    def why(self, place: Place) -> Reason | None:
        """The reason of the last end; None where there was none."""
        last = self._last.get(place)
        return None if last is None else last.reason
