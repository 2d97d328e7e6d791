"""Which backend has read the beginning of a prompt of late, so that routing counts what it need not read again."""

from collections.abc import Mapping

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.features import EngineWishes, Feature
from ollama_proxyd.core.prefixes import blocks_of
from ollama_proxyd.core.requests import WRITING, Request
from ollama_proxyd.services.fleet import Fleet
from ollama_proxyd.services.inventory import FleetChanges
from ollama_proxyd.services.prefixes import PrefixIndex


class PrefixAffinity:
    """An index over the requests since it was switched on."""

    def __init__(self, fleet: Fleet) -> None:
        self._index = PrefixIndex()
        self._stops = (fleet.attempts.listen(self._ended), fleet.reconciled.listen(self._reconciled))

    def close(self) -> None:
        """Hear of nothing any more."""
        for stop in self._stops:
            stop()

    def cached_tokens(self, request: Request) -> Mapping[str, float]:
        """How much of a prompt each backend is likely to have in its cache."""
        return self._index.cached_tokens(_blocks(request))

    def note(self, backend_id: str, request: Request) -> None:
        """A backend is about to read a prompt."""
        self._index.note(backend_id, _blocks(request))

    def _ended(self, ended: AttemptEnded) -> None:
        """An engine that fails may have been started anew, with an empty cache."""
        if ended.fault is not None:
            self._index.forget(ended.backend_id)

    def _reconciled(self, changes: FleetChanges) -> None:
        for backend_id in changes.changed | changes.removed:
            self._index.forget(backend_id)


def switched(now: PrefixAffinity | None, wishes: EngineWishes, fleet: Fleet) -> PrefixAffinity | None:
    """The index where the flag is on, the same one as before where it was; None where it is off."""
    if Feature.PREFIX_CACHE in wishes.on:
        return now or PrefixAffinity(fleet)
    if now is not None:
        now.close()
    return None


def _blocks(request: Request) -> tuple[int, ...]:
    """The beginning of a request: of one client the fields before its prompt are alike from turn to turn."""
    return blocks_of((request.model, request.endpoint), request.body) if request.operation in WRITING else ()
