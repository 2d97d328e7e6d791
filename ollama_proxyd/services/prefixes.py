"""Remembers which backend has read which beginnings of prompts of late, so is likely to have them in its KV cache."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence, Set

from ollama_proxyd.core.prefixes import TOKENS_PER_BLOCK

MOST_KEPT = 100_000
"""Blocks in all, the least recently read forgotten first: of 12.8 million tokens, in about 30 MB."""


class _Cache:
    """The cache of a backend, until it is lost."""

    __slots__ = ("backend_id",)

    def __init__(self, backend_id: str) -> None:
        self.backend_id = backend_id


class PrefixIndex:
    """Who has read each block."""

    def __init__(self, most_kept: int = MOST_KEPT) -> None:
        self._most_kept = most_kept
        self._readers: OrderedDict[int, set[_Cache]] = OrderedDict()
        """The caches into which each block was read, those that were lost since included."""
        self._caches: dict[str, _Cache] = {}
        """By backend the one that it has."""

    def cached_tokens(self, blocks: Sequence[int]) -> Mapping[str, float]:
        """How many tokens of a prompt each backend is likely to have read already; those without any are absent."""
        found: dict[str, float] = {}
        able: Set[_Cache] = set(self._caches.values())
        for count, block in enumerate(blocks):
            still = able & self._readers.get(block, _NONE)
            if count and len(still) < len(able):
                found.update({each.backend_id: count * TOKENS_PER_BLOCK for each in able - still})
            able = still
            if not able:
                return found
        found.update({each.backend_id: len(blocks) * TOKENS_PER_BLOCK for each in able if blocks})
        return found

    def note(self, backend_id: str, blocks: Sequence[int]) -> None:
        """A backend is about to read a prompt."""
        cache = self._caches.get(backend_id) or self._caches.setdefault(backend_id, _Cache(backend_id))
        for block in blocks:
            readers = self._readers.setdefault(block, set())
            readers.add(cache)
            if len(readers) > len(self._caches):  # some of them were lost
                readers.intersection_update(self._caches.values())
            self._readers.move_to_end(block)
        while len(self._readers) > self._most_kept:
            self._readers.popitem(last=False)

    def forget(self, backend_id: str) -> None:
        """A backend has lost its cache, as by a restart."""
        self._caches.pop(backend_id, None)


_NONE: Set[_Cache] = frozenset()
