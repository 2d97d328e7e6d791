"""Kept responses are bounded in number and bytes, the oldest first to go."""

import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.kept_responses import KeptResponse, KeptResponses


def response(size: int = 10) -> KeptResponse:
    return KeptResponse(b"x" * size, {}, {})


def test_the_oldest_make_room_in_number_and_in_bytes() -> None:
    kept = KeptResponses(most=3, most_bytes=100)
    for name in "abcd":
        kept.keep(name, response())
    with pytest.raises(ProxyError):
        kept.find("a")
    kept.keep("large", response(85))
    assert (len(kept), kept.size_bytes) == (2, 95)
    kept.keep("too large", response(101))
    assert len(kept) == 2
    kept.forget("large")
    assert (len(kept), kept.size_bytes) == (1, 10)


def test_one_that_is_kept_again_takes_the_place_of_the_former() -> None:
    kept = KeptResponses(most=3, most_bytes=100)
    for size in (30, 40, 20):
        kept.keep("the same", response(size))
    assert (len(kept), kept.size_bytes) == (1, 20)
