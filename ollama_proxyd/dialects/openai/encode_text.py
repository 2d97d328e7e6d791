"""What chats and plain completions have in common when they are written for OpenAI clients."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, Usage
from ollama_proxyd.core.requests import Json, Request

FINGERPRINT = "fp_ollama_proxyd"
DONE = b"data: [DONE]\n\n"

REASONS = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.LOAD: "stop",
    FinishReason.UNLOAD: "stop",
}
"""Why an answer ended, in OpenAI's words; it has none for loading."""


class TextEncoder(ABC):
    """Writes one answer."""

    def __init__(self, request: Request, created: int, answer_id: str, kinds: tuple[str, str]) -> None:
        streamed, self._whole_kind = kinds
        self._wants_usage = request.wants_usage
        self._head: dict[str, Json] = {
            "id": answer_id,
            "object": streamed,
            "created": created,
            "model": request.model,
            "system_fingerprint": FINGERPRINT,
        }
        self._start = b"data: " + msgspec.json.encode(self._head)[:-1] + b',"choices":['

    def encode(self, event: Event) -> bytes:
        """What a streaming client is sent for an event, b"" for nothing."""
        if isinstance(event, Delta):
            return b"".join(self._chunk(choice) for choice in self._pieces(event))
        if isinstance(event, Finished):
            return self._ending(event)
        return b""

    def whole(self, events: Iterable[Event]) -> bytes:
        """The answer as one JSON object."""
        deltas: list[Delta] = []
        finished = Finished()
        for event in events:
            if isinstance(event, Delta):
                deltas.append(event)
            elif isinstance(event, Finished):
                finished = event
        choice = self._answer(deltas, finished)
        answer = {**self._head, "object": self._whole_kind, "choices": [choice], "usage": usage_object(finished.usage)}
        return msgspec.json.encode(answer)

    def _ending(self, finished: Finished) -> bytes:
        chunks = [self._chunk(choice) for choice in self._last_pieces(finished)]
        if self._wants_usage:
            usage = msgspec.json.encode(usage_object(finished.usage))
            chunks.append(self._start + b'],"usage":' + usage + b"}\n\n")
        return b"".join(chunks) + DONE

    def _chunk(self, choice: Json) -> bytes:
        return self._start + msgspec.json.encode(choice) + b"]}\n\n"

    @abstractmethod
    def _pieces(self, delta: Delta) -> list[Json]:
        """The choice of each chunk that a delta makes."""

    @abstractmethod
    def _last_pieces(self, finished: Finished) -> list[Json]:
        """The choice of each chunk before usage and [DONE]."""

    @abstractmethod
    def _answer(self, deltas: list[Delta], finished: Finished) -> Json:
        """The choice of a whole answer."""


def usage_object(usage: Usage) -> dict[str, Json] | None:
    """Usage in OpenAI's form, None when nothing is known; an engine that leaves one number out means 0."""
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    tokens: dict[str, Json] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if usage.cached_tokens is not None:
        tokens["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return tokens
