"""Feature flags are kept over restarts only where that is asked for, and routing goes by them at once."""

from typing import Any

import pytest

from ollama_proxyd.core.features import Feature
from ollama_proxyd.core.topology import Topology
from ollama_proxyd.services.features import STATE_KEY, Features
from tests.fakes import MemoryStore

LAPTOP = Topology(performance_cores=6, physical_cores=16)


def features(store: MemoryStore) -> Features:
    return Features(store, lambda: LAPTOP)


def test_a_flag_lasts_until_the_next_start_and_longer_where_it_is_kept() -> None:
    store = MemoryStore()
    first = features(store)
    first.set(Feature.MMAP_WEIGHTS, enabled=True, keep=True)
    first.set(Feature.LEAN_CONTEXT, enabled=True, keep=False)
    assert first.wishes.value.on == {Feature.MMAP_WEIGHTS, Feature.LEAN_CONTEXT}
    again = features(store)
    assert again.wishes.value.on == {Feature.MMAP_WEIGHTS}
    again.set(Feature.MMAP_WEIGHTS, enabled=False, keep=False)
    assert features(store).wishes.value.on == frozenset()


@pytest.mark.parametrize("saved", [None, "x", 7, {}, [7, None, "unknown", ["mmap_weights"]], ["mmap_weights", "gone"]])
def test_odd_state_is_left_out(saved: Any) -> None:
    store = MemoryStore()
    store.put(STATE_KEY, saved)
    on = features(store).wishes.value.on
    assert on == ({Feature.MMAP_WEIGHTS} if saved == ["mmap_weights", "gone"] else frozenset())


def test_threads_are_the_performance_cores() -> None:
    flags = features(MemoryStore())
    assert flags.wishes.value.threads is None
    flags.set(Feature.THREAD_HINT, enabled=True, keep=False)
    assert flags.wishes.value.threads == 6
    (thread_hint,) = [each for each in flags.status(()) if each.feature is Feature.THREAD_HINT]
    assert thread_hint.is_wanted
    assert not thread_hint.is_enabled, "there is no backend"
