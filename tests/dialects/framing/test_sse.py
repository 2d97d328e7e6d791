"""Server-sent events are cut at their own boundaries, wherever the transport cuts."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.splitter import FrameSplitter
from ollama_proxyd.dialects.framing.sse import ENDS, events

STREAMS = st.lists(
    st.sampled_from(
        [b'data: {"a":"\xc3\xa9"}', b"data:x", b": keepalive", b"event: e", b"", b"data: [DONE]", b"id: 7\ndata: two"]
    ),
    max_size=12,
).flatmap(
    lambda parts: st.lists(
        st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\r", b"\n"]), min_size=len(parts), max_size=len(parts)
    ).map(lambda ends: b"".join(part + end for part, end in zip(parts, ends, strict=True)))
)


def cut(stream: bytes, cuts: Iterable[int]) -> tuple[list[bytes], bytes]:
    splitter = FrameSplitter(ENDS)
    places = [0, *sorted(place % (len(stream) + 1) for place in cuts), len(stream)]
    blocks = [splitter.feed(stream[start:end]) for start, end in itertools.pairwise(places)]
    return blocks, splitter.remainder()


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=10_000), max_size=30))
def test_any_chunking_of_a_stream_gives_the_same_events_and_loses_no_byte(stream: bytes, cuts: list[int]) -> None:
    blocks, rest = cut(stream, cuts)
    (whole,), whole_rest = cut(stream, ())
    assert b"".join(blocks) + rest == stream
    assert [data for block in blocks for data in events(block)] == events(whole)
    assert events(rest) == list(events(whole_rest))


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=10_000), max_size=30))
def test_every_block_ends_with_a_blank_line(stream: bytes, cuts: list[int]) -> None:
    blocks, _ = cut(stream, cuts)
    assert all(block.endswith((b"\n\n", b"\n\r\n", b"\r\r")) for block in blocks if block)


def test_a_chunk_of_whole_events_goes_through_as_the_same_object() -> None:
    chunk = b"data: 1\n\ndata: 2\n\n"
    assert FrameSplitter(ENDS).feed(chunk) is chunk


def test_an_event_without_its_blank_line_waits() -> None:
    splitter = FrameSplitter(ENDS)
    assert splitter.feed(b"data: 1\n\ndata: 2\n") == b"data: 1\n\n"
    assert splitter.remainder() == b"data: 2\n"
    assert splitter.feed(b"\n") == b"data: 2\n\n"
    assert splitter.remainder() == b""


def test_an_event_larger_than_the_limit_is_the_backends_failure_and_the_limit_is_named() -> None:
    splitter = FrameSplitter(ENDS, max_frame_bytes=100)
    splitter.feed(b"data: " + b"x" * 90)
    with pytest.raises(ProxyError, match="limit of 100 bytes") as caught:
        splitter.feed(b"x" * 20)
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


def test_many_small_events_may_together_be_larger_than_the_limit() -> None:
    splitter = FrameSplitter(ENDS, max_frame_bytes=10)
    assert splitter.feed(b"data: 1\n\n" * 50) == b"data: 1\n\n" * 50


def test_the_data_of_several_lines_is_joined_and_other_fields_are_skipped() -> None:
    block = b": keepalive 1/1\n\nevent: message\nid: 4\ndata: a\ndata:b\nretry: 9\n\ndata:  c\r\n\r\n"
    assert events(block) == [b"a\nb", b"c"]


def test_a_last_event_that_lacks_its_blank_line_is_still_read() -> None:
    assert list(events(b"data: 1\n\ndata: [DONE]")) == [b"1", b"[DONE]"]
