"""The objects that Ollama's clients get, with the keys in Ollama's own order."""

import msgspec

from ollama_proxyd.core.events import TokenLogprob
from ollama_proxyd.core.requests import Json


class Function(msgspec.Struct):
    """What a tool call calls."""

    index: int
    name: str
    arguments: msgspec.Raw


class ToolCall(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One whole tool call."""

    id: str | None = None
    function: Function


class Message(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What the model said in a chat."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: list[ToolCall] | None = None


class Counters(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Tokens and durations of the last object; what is unknown is left out."""

    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


class ChatLine(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A line of /api/chat, but for the counters of the last."""

    model: str
    created_at: str
    message: Message
    done: bool
    done_reason: str | None = None
    logprobs: list[dict[str, Json]] | None = None


class GenerateLine(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A line of /api/generate, but for the counters of the last."""

    model: str
    created_at: str
    response: str
    thinking: str = ""
    done: bool
    done_reason: str | None = None
    tool_calls: list[ToolCall] | None = None
    logprobs: list[dict[str, Json]] | None = None


def with_counters(line: bytes, counters: Counters) -> bytes:
    """An encoded object with the counters as its last keys."""
    more = msgspec.json.encode(counters)
    return line if more == b"{}" else line[:-1] + b"," + more[1:]


def write_logprob(token: TokenLogprob, *, with_top: bool = True) -> dict[str, Json]:
    """A token, how likely it was, and the likeliest others."""
    written: dict[str, Json] = {"token": token.token, "logprob": token.logprob}
    if token.bytes is not None:
        written["bytes"] = token.bytes
    if with_top and token.top:
        written["top_logprobs"] = [write_logprob(other, with_top=False) for other in token.top]
    return written
