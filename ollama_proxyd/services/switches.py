"""Remembers which backends a person switched on or off, over what the configuration says."""

from typing import Any

from ollama_proxyd.core.fleet import BackendView, Health
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.ports import StateStore

STATE_KEY = "enabled"
NOT_CHECKED = Reason("not_checked_yet")
REMOVED = Reason("backend_removed")


class Switches:
    """The one owner of whether a backend may be used."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        saved = store.get(STATE_KEY)
        entries = saved.items() if isinstance(saved, dict) else ()
        self._by_hand = {key: value for key, value in entries if isinstance(value, bool)}

    def why_off(self, config: BackendConfig) -> Reason | None:
        """The reason why a backend may not be used, None when it may."""
        by_hand = self._by_hand.get(config.spec.id)
        if by_hand is None:
            return None if config.enabled else Reason("disabled_in_configuration")
        return None if by_hand else Reason("switched_off")

    def set(self, config: BackendConfig, enabled: bool) -> None:
        """Switch a backend on or off and keep that over restarts."""
        backend_id = config.spec.id
        self._by_hand[backend_id] = enabled
        if enabled is config.enabled:
            del self._by_hand[backend_id]
        self._store.put(STATE_KEY, dict(self._by_hand))


def at_first(why_off: Reason | None) -> dict[str, Any]:
    """Health before the first check."""
    if why_off is not None:
        return {"health": Health.DISABLED, "health_reason": why_off}
    return {"health": Health.UNKNOWN, "health_reason": NOT_CHECKED}


def why_unasked(view: BackendView) -> Reason | None:
    """Why a backend is switched off, as `at_first` says it."""
    return view.health_reason if view.health is Health.DISABLED else NOT_CHECKED
