"""The slots of a backend under its configuration and by what it tells."""

from dataclasses import replace

from ollama_proxyd.core.fleet import BackendSpec, BackendView, Health
from ollama_proxyd.core.slots import Slots, SlotsFrom

_UNCERTAIN = frozenset({SlotsFrom.CONFIGURED, SlotsFrom.ASSUMED})


def with_slots(view: BackendView, spec: BackendSpec, told: Slots | None = None) -> BackendView:
    """The same with the slots that it tells, else those known already; a restart may have changed them."""
    is_replaced = view.slots_from in _UNCERTAIN or (view.slots_from is SlotsFrom.INFERRED and spec.slots is not None)
    if told is None and view.health is Health.UP and not is_replaced:
        return view
    known = told or spec.assumed_slots
    return replace(view, slots=known.count, slots_from=known.source)
