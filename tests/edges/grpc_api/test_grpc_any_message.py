"""Whatever a message of the gRPC service holds, it is a request or is refused."""

from contextlib import suppress
from typing import Any

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.programs import UNKNOWN
from ollama_proxyd.edges.grpc_api import compute_pb2 as pb
from ollama_proxyd.edges.grpc_api.reading import read_chat, read_hints, read_text

WORDS = st.text(max_size=20)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=32)
ANNOTATIONS = st.builds(
    pb.JobAnnotations,
    target=WORDS,
    latency_critical=st.booleans(),
    cache_enabled=st.booleans() | st.none(),
    max_latency_ms=INT32,
    max_power_watts=INT32,
    priority=st.sampled_from(["", "high", "realtime"]) | WORDS,
    deadline_unix_ms=INT64,
    custom=st.dictionaries(st.sampled_from(["strict_limits", "media_type", "defer", "x"]), WORDS, max_size=3),
)
OPTIONS = st.builds(
    pb.GenerationOptions,
    max_tokens=INT32 | st.none(),
    temperature=FLOATS | st.none(),
    top_p=FLOATS | st.none(),
    top_k=INT32 | st.none(),
    stop=st.lists(WORDS, max_size=3),
    context_length=INT32 | st.none(),
)


def read(message: Any, deadline_ms: int | None) -> None:
    with suppress(ProxyError):
        hints = read_hints(message.annotations, "id", UNKNOWN, deadline_ms)
        request = (read_text if isinstance(message, pb.EmbedRequest) else read_chat)(message, hints)
        assert request.content() is not None


@given(WORDS, WORDS, ANNOTATIONS, OPTIONS, st.none() | st.integers(1, 2**50))
def test_any_fields_are_a_request_or_are_refused(
    prompt: str, model: str, annotations: Any, options: Any, deadline_ms: int | None
) -> None:
    read(pb.GenerateRequest(prompt=prompt, model=model, annotations=annotations, options=options), deadline_ms)
    read(pb.EmbedRequest(text=prompt, model=model, annotations=annotations), deadline_ms)


@given(st.binary(max_size=60), st.sampled_from([pb.GenerateRequest, pb.EmbedRequest]))
def test_any_bytes_are_a_message_or_none(data: bytes, kind: Any) -> None:
    try:
        message = kind.FromString(data)
    except DecodeError:
        return
    read(message, None)
