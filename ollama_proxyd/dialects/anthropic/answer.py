"""What engines that speak Anthropic's API send: typed, and lenient where they differ."""

import msgspec

from ollama_proxyd.core.events import FinishReason, Usage
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.numbers import token_count
from ollama_proxyd.dialects.framing.reported import is_reported


class Said(msgspec.Struct):
    """A block, or a piece of one."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Json] | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class WireUsage(msgspec.Struct):
    """Tokens; any value is taken and read later."""

    input_tokens: Json = None
    output_tokens: Json = None
    cache_read_input_tokens: Json = None
    cache_creation_input_tokens: Json = None


class Frame(msgspec.Struct):
    """An event's data, or a whole answer."""

    type: str | None = None
    index: Json = None
    message: "Frame | None" = None
    content_block: Said | None = None
    delta: Said | None = None
    content: list[Said] | str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: WireUsage | None = None
    error: Json = None

    @property
    def reported(self) -> Json:
        """The error that it reports; None for none."""
        return self.error if is_reported(self.error) else None


FRAME = msgspec.json.Decoder(Frame)

KINDS = frozenset(
    {
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop", "ping", "message"),
    }
)

REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
"""Anthropic's reasons."""

_OTHER_REASONS = {
    **REASONS,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}
"""OpenAI's words too; any other means that the engine simply stopped."""


def finish_reason(word: str) -> FinishReason:
    """An engine's reason in the core's words."""
    return _OTHER_REASONS.get(word.lower(), FinishReason.STOP)


def merged(usage: Usage, told: WireUsage | None) -> Usage:
    """The usage with what an event adds; input tokens come without those of the cache."""
    if told is None:
        return usage
    prompt, cached = token_count(told.input_tokens), token_count(told.cache_read_input_tokens)
    completion = token_count(told.output_tokens)
    if prompt is not None:
        prompt += (cached or 0) + (token_count(told.cache_creation_input_tokens) or 0)
    return Usage(
        usage.prompt_tokens if prompt is None else prompt,
        usage.completion_tokens if completion is None else completion,
        usage.cached_tokens if cached is None else cached,
    )
