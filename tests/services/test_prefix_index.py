"""Who has read which beginning of a prompt."""

import gc

from ollama_proxyd.core.prefixes import BLOCK_BYTES, TOKENS_PER_BLOCK, blocks_of
from ollama_proxyd.services.prefixes import PrefixIndex

SHARED = b"a" * 3 * BLOCK_BYTES
FIRST, SECOND = (blocks_of("m", SHARED + tail * BLOCK_BYTES) for tail in (b"x", b"y"))


def caches() -> int:
    """How many there are of all tests."""
    gc.collect()
    return sum(type(each).__name__ == "_Cache" for each in gc.get_objects())


def test_each_reader_is_known_for_as_far_as_it_has_read() -> None:
    index = PrefixIndex()
    index.note("a", FIRST)
    index.note("b", SECOND)
    assert index.cached_tokens(FIRST) == {"a": 4 * TOKENS_PER_BLOCK, "b": 3 * TOKENS_PER_BLOCK}
    assert index.cached_tokens(blocks_of("n", SHARED)) == {}
    assert index.cached_tokens(()) == {}


def test_a_hole_ends_what_is_cached() -> None:
    index = PrefixIndex()
    index.note("a", FIRST[:1])
    index.note("a", FIRST[2:])
    assert index.cached_tokens(FIRST) == {"a": TOKENS_PER_BLOCK}


def test_who_lost_its_cache_has_none_until_it_reads_again() -> None:
    index = PrefixIndex()
    index.note("a", FIRST)
    index.note("b", FIRST)
    index.forget("a")
    assert set(index.cached_tokens(FIRST)) == {"b"}
    index.note("a", FIRST)
    assert set(index.cached_tokens(FIRST)) == {"a", "b"}


def test_caches_that_were_lost_leave_nothing_behind() -> None:
    index, before = PrefixIndex(), caches()
    for _ in range(100):
        index.note("a", FIRST)
        index.forget("a")
    index.note("a", FIRST)
    assert caches() == before + 1


def test_the_least_recently_read_is_forgotten_first() -> None:
    index = PrefixIndex(most_kept=4)
    index.note("a", FIRST)
    index.note("a", blocks_of("n", b"z" * BLOCK_BYTES))
    assert index.cached_tokens(FIRST) == {}, "its first block went"
    assert index.cached_tokens(blocks_of("n", b"z" * BLOCK_BYTES))
