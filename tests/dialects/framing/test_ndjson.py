"""Lines are cut by newlines, wherever the transport broke them."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.ndjson import ENDS, LineSplitter, lines
from ollama_proxyd.dialects.framing.splitter import MAX_FRAME_BYTES, FrameSplitter


def cut_anywhere(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(0, 999), max_size=12), st.binary(max_size=9))
def test_however_the_stream_is_broken_its_bytes_come_out_whole_and_in_order(
    texts: list[bytes], cuts: list[int], rest: bytes
) -> None:
    stream = b"".join(text.replace(b"\n", b"") + b"\n" for text in texts) + rest.replace(b"\n", b"")
    splitter = FrameSplitter(ENDS)
    blocks = [splitter.feed(piece) for piece in cut_anywhere(stream, cuts)]
    assert b"".join(blocks) + splitter.remainder() == stream
    assert all(block == b"" or block.endswith(b"\n") for block in blocks)
    assert b"\n" not in splitter.remainder()


def test_a_chunk_of_whole_lines_is_passed_on_as_the_same_object() -> None:
    chunk = b'{"a":1}\n{"b":2}\n'
    assert FrameSplitter(ENDS).feed(chunk) is chunk


def test_a_line_is_given_out_with_the_chunk_that_ends_it() -> None:
    splitter = FrameSplitter(ENDS)
    assert splitter.feed(b'{"a":') == b""
    assert splitter.feed(b'1}\n{"b"') == b'{"a":1}\n'
    assert splitter.remainder() == b'{"b"'


def test_a_line_may_be_sixteen_mebibytes() -> None:
    line = b"x" * MAX_FRAME_BYTES + b"\n"
    splitter = FrameSplitter(ENDS)
    half = len(line) // 2
    assert splitter.feed(line[:half]) == b""
    assert splitter.feed(line[half:]) == line


@pytest.mark.parametrize("chunks", [[b"12345"], [b"12345\n"], [b"123", b"45\n"], [b"1\n", b"12345"], [b"1\n12345"]])
def test_a_longer_line_is_a_failure_of_the_backend_that_names_the_limit(chunks: list[bytes]) -> None:
    *before, last = chunks
    splitter = FrameSplitter(ENDS, max_frame_bytes=4)
    for chunk in before:
        splitter.feed(chunk)
    with pytest.raises(ProxyError, match="limit of 4 bytes") as caught:
        splitter.feed(last)
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


def test_many_short_lines_together_may_be_longer_than_one_line() -> None:
    assert FrameSplitter(ENDS, max_frame_bytes=4).feed(b"1\n2\n3\n4\n5\n6\n") == b"1\n2\n3\n4\n5\n6\n"


def test_empty_lines_are_no_lines() -> None:
    assert list(lines(b'{"a":1}\r\n\n  \n{"b":2}\n')) == [b'{"a":1}', b'{"b":2}']


LINES = [{"message": {"content": 'a "} { b'}}, {"done": False, "list": [{"x": 1}]}, {"done": True}]


@pytest.mark.parametrize("indent", [None, 1, 4])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@given(cuts=st.lists(st.integers(0, 9999), max_size=12))
def test_an_object_over_several_lines_becomes_one_line(indent: int | None, end: str, cuts: list[int]) -> None:
    stream = "".join(json.dumps(line, indent=indent).replace("\n", end) + end for line in LINES).encode()
    splitter = LineSplitter()
    block = b"".join(splitter.feed(piece) for piece in cut_anywhere(stream, cuts))
    assert [json.loads(line) for line in lines(block)] == LINES
    assert splitter.remainder() == b""


def test_what_a_broken_object_holds_stays_after_the_last_frame() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b'{"done":false}\n{\n "message": {\n') == b'{"done":false}\n'
    assert splitter.remainder() == b'{\n "message": {\n'


def test_an_object_over_several_lines_has_the_limit_of_one_line() -> None:
    splitter = LineSplitter()
    splitter.feed(b"{\n")
    for _ in range(15):
        splitter.feed(b'"a": "' + b"x" * 2**20 + b'",\n')
    with pytest.raises(ProxyError, match="longer than the limit"):
        splitter.feed(b'"a": "' + b"x" * 2**20 + b'",\n')
