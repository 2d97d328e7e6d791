"""Keeps the state in memory as well, so that a full disk or a read-only folder costs only what outlives the process."""

import logging
from collections.abc import Mapping

from ollama_proxyd.core.requests import Json
from ollama_proxyd.services.ports import StateStore

log = logging.getLogger(__name__)


class KeptState:
    """A StateStore over another one that may fail; a failure is said once, until writing works again."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._state: Mapping[str, Json] | None = None
        self._fails = False

    def load(self) -> Mapping[str, Json]:
        """What was saved last, whether or not it could be written."""
        if self._state is None:
            self._state = self._store.load()
        return dict(self._state)

    def save(self, state: Mapping[str, Json]) -> None:
        """Keep it, and write it if that is possible; the next save tries again, with everything that is kept."""
        self._state = dict(state)
        try:
            self._store.save(self._state)
        except OSError as error:
            if not self._fails:
                log.warning("%s; it is kept in memory and is lost when this process ends", _what(error))
            self._fails = True
        else:
            if self._fails:
                log.info("what is remembered over restarts can be written again")
            self._fails = False


def _what(error: OSError) -> str:
    where = f" at {error.filename}" if error.filename else ""
    return f"what is remembered over restarts cannot be written{where}: {error.strerror or error}"
