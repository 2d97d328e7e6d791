"""Embeddings for OpenAI clients."""

from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.events import Embedded, Event, Finished, Usage
from ollama_proxyd.core.requests import Embedding, Json, Request
from ollama_proxyd.dialects.openai.vectors import pack


class EmbeddingEncoder:
    """Writes one answer; embeddings are never streamed."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def encode(self, event: Event) -> bytes:  # noqa: ARG002 - see Encoder
        """Nothing: vectors come only whole."""
        return b""

    def whole(self, events: Iterable[Event]) -> bytes:
        """The answer as one JSON object."""
        vectors: tuple[tuple[float, ...], ...] = ()
        usage = Usage()
        for event in events:
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
