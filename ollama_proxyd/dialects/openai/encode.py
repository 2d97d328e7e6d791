"""The core's events in the form that OpenAI clients read: the encoder for each operation."""

from collections.abc import Iterable
from typing import Protocol

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.requests import Operation, Request
from ollama_proxyd.dialects.openai.encode_chat import ChatEncoder
from ollama_proxyd.dialects.openai.encode_completion import CompletionEncoder
from ollama_proxyd.dialects.openai.encode_embedding import EmbeddingEncoder

STREAM_TYPE = "text/event-stream"
WHOLE_TYPE = "application/json"


class Encoder(Protocol):
    """Writes one answer, either event by event or whole."""

    def encode(self, event: Event) -> bytes:
        """What a streaming client is sent for an event, b"" for nothing."""

    def whole(self, events: Iterable[Event]) -> bytes:
        """The answer as one JSON object."""

    def error(self, error: ProxyError) -> bytes:
        """What ends a stream that failed after its first byte."""


def encoder(request: Request, created: int, answer_id: str) -> Encoder:
    """The encoder for a request's answer; `created` is Unix time in seconds, `answer_id` any unique word."""
    if request.operation is Operation.EMBEDDING:
        return EmbeddingEncoder(request)
    if request.operation is Operation.COMPLETION:
        return CompletionEncoder(request, created, answer_id)
    return ChatEncoder(request, created, answer_id)
