"""Remembers which backend has read which beginnings of prompts of late, so is likely to have them in its KV cache."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from ollama_proxyd.core.prefixes import TOKENS_PER_BLOCK

MOST_KEPT = 100_000
"""Blocks in all, the least recently read forgotten first: of 12.8 million tokens, in about 30 MB."""


class PrefixIndex:
    """Who has read each block."""

    def __init__(self, most_kept: int = MOST_KEPT) -> None:
        self._most_kept = most_kept
        self._readers: OrderedDict[int, dict[str, int]] = OrderedDict()
        """By block each reader, and how often it had lost its cache by then."""
        self._lost: dict[str, int] = {}

    def cached_tokens(self, blocks: Sequence[int]) -> Mapping[str, float]:
        """How many tokens of a prompt each backend is likely to have read already; those without any are absent."""
        found: dict[str, float] = {}
        lost, able = self._lost.get, None
        for count, block in enumerate(blocks, 1):
            readers = self._readers.get(block, _NONE)
            able = [each for each in (readers if able is None else able) if readers.get(each) == lost(each, 0)]
            if not able:
                break
            found.update(dict.fromkeys(able, count * TOKENS_PER_BLOCK))
        return found

    def note(self, backend_id: str, blocks: Sequence[int]) -> None:
        """A backend is about to read a prompt."""
        lost = self._lost.get(backend_id, 0)
        for block in blocks:
            self._readers.setdefault(block, {})[backend_id] = lost
            self._readers.move_to_end(block)
        while len(self._readers) > self._most_kept:
            self._readers.popitem(last=False)

    def forget(self, backend_id: str) -> None:
        """A backend has lost its cache, as by a restart."""
        self._lost[backend_id] = self._lost.get(backend_id, 0) + 1


_NONE: Mapping[str, int] = {}
