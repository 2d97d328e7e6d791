"""What the gateway is told, written by hand, is what its messages say."""

from pathlib import Path

import pytest

from ollama_proxyd.edges.picker_api import ext_proc_pb2 as pb
from ollama_proxyd.edges.picker_api.telling import PIECE_BYTES, pieces

MIB = 1024 * 1024


@pytest.mark.parametrize("part", ["request_body", "response_body"])
@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_384])
@pytest.mark.parametrize("ends", [True, False])
def test_a_piece_is_read_as_it_was_written(part: str, size: int, *, ends: bool) -> None:
    (written,) = pieces(part, b"x" * size, ends=ends)
    told = pb.ProcessingResponse()
    streamed = getattr(told, part).response.body_mutation.streamed_response
    streamed.SetInParent()
    streamed.body, streamed.end_of_stream = b"x" * size, ends
    assert pb.ProcessingResponse.FromString(written) == told


def test_a_large_body_ends_with_its_last_piece() -> None:
    body = bytes(range(256)) * (PIECE_BYTES // 100)
    told = [pb.ProcessingResponse.FromString(each) for each in pieces("response_body", body, ends=True)]
    streamed = [each.response_body.response.body_mutation.streamed_response for each in told]
    assert b"".join(each.body for each in streamed) == body
    assert [each.end_of_stream for each in streamed] == [False] * (len(told) - 1) + [True]


def test_what_was_passed_on_is_not_kept() -> None:
    body = b"x" * 16_384
    pieces("response_body", body, ends=False)
    before = _resident_bytes()
    for _ in range(64 * MIB // len(body)):
        pieces("response_body", body, ends=False)
    assert _resident_bytes() - before < 16 * MIB


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
