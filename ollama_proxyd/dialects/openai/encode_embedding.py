"""Embeddings for OpenAI clients."""

from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Embedded, Event, Finished, Usage
from ollama_proxyd.core.requests import Embedding, Json, Request
from ollama_proxyd.dialects.openai.encode_text import error_event
from ollama_proxyd.dialects.openai.vectors import pack


class EmbeddingEncoder:
    """Writes one answer; embeddings are never streamed."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def encode(self, event: Event) -> bytes:
        """An engine's own bytes; vectors come only whole."""
        return event.frame or b"" if isinstance(event, Delta) else b""

    def error(self, error: ProxyError) -> bytes:
        """An error after the first byte."""
        return error_event(error)

    def whole(self, events: Iterable[Event]) -> bytes:
        """The answer as one JSON object, or the engine's own bytes where it speaks this dialect."""
        vectors: tuple[tuple[float, ...], ...] = ()
        usage = Usage()
        for event in events:
            if isinstance(event, Delta) and event.frame is not None:
                return event.frame
            if isinstance(event, Embedded):
                vectors = event.vectors
            elif isinstance(event, Finished):
                usage = event.usage
        return msgspec.json.encode(self._answer(vectors, usage))

    def _answer(self, vectors: tuple[tuple[float, ...], ...], usage: Usage) -> dict[str, Json]:
        content = self._request.content()
        packed = isinstance(content, Embedding) and content.base64
        tokens = usage.prompt_tokens or 0
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "embedding": pack(vector) if packed else vector, "index": index}
                for index, vector in enumerate(vectors)
            ],
            "model": self._request.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
