"""Owns what a person changed of Auto's numbers and the quiet hours, over what the configuration says."""

import logging
from collections.abc import Iterable, Mapping

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.tuning import Tuning, Value, change, check_key, read
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import StateStore

log = logging.getLogger(__name__)

STATE_KEY = "settings"


class RuntimeSettings:
    """The one owner of these settings: the configuration's values, and the changes that survive restarts and reloads.

    `tuning` is what applies. Where the changes contradict a configuration that was written later, its values apply
    alone until one of the two is mended, or until another change is made that does not fit them: then they are dropped.
    """

    def __init__(self, base: Tuning, store: StateStore) -> None:
        self._base = base
        self._store = store
        self._by_hand = _restored(store.get(STATE_KEY))
        self.tuning: Cell[Tuning] = Cell(self._applied())

    @property
    def changed(self) -> tuple[str, ...]:
        """The keys whose value differs from the configuration's."""
        tuning = self.tuning.value
        return tuple(key for key in self._by_hand if getattr(tuning, key) != getattr(self._base, key))

    @property
    def configured(self) -> Tuning:
        """What applies where nothing was changed."""
        return self._base

    def rebase(self, base: Tuning) -> None:
        """Take another configuration's values; what was changed stays changed."""
        self._base = base
        self.tuning.set(self._applied())

    def change(self, changes: Mapping[str, object]) -> None:
        """Put all changes in force and keep them over restarts, or none; raises ProxyError that names the key.

        None goes back to the configuration's value.
        """
        for key in changes:
            check_key(key)
        new = {key: read(key, value) for key, value in changes.items() if value is not None}
        kept = {key: value for key, value in self._by_hand.items() if key not in changes}
        together = {**kept, **new}
        by_hand = together if self._fits(together) or self._fits(self._by_hand) else new
        tuning = change(self._base, by_hand)
        self._by_hand = {key: value for key, value in by_hand.items() if value != getattr(self._base, key)}
        self._store.put(STATE_KEY, dict(self._by_hand))
        self.tuning.set(tuning)

    def reset(self, keys: Iterable[str] = ()) -> None:
        """Go back to the configuration's values for these keys, or for all where none is named; raises ProxyError."""
        self.change(dict.fromkeys(tuple(keys) or self._by_hand))

    def _fits(self, by_hand: Mapping[str, Value]) -> bool:
        try:
            change(self._base, by_hand)
        except ProxyError:
            return False
        return True

    def _applied(self) -> Tuning:
        try:
            return change(self._base, self._by_hand)
        except ProxyError as error:
            log.warning(
                "what was changed of the settings does not fit the configuration, which applies alone: %s", error
            )
            return self._base


def _restored(saved: Json) -> dict[str, Value]:
    """What was saved, without entries that this version does not know."""
    known: dict[str, Value] = {}
    for key, value in saved.items() if isinstance(saved, dict) else ():
        try:
            known[key] = read(key, value)
        except ProxyError as error:
            log.warning("a saved setting is ignored: %s", error)
    return known
