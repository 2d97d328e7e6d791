"""Writes answers for Anthropic's clients."""

import base64
import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, ToolCallDelta, Usage
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.dialects.anthropic.answer import FRAME
from ollama_proxyd.dialects.framing import lenient
from ollama_proxyd.dialects.framing.gathering import ToolCalls, joined, says, was_cut, whole_calls
from ollama_proxyd.dialects.framing.jsonbody import energy_in
from ollama_proxyd.dialects.framing.numbers import count
from ollama_proxyd.dialects.framing.sse import events

_REASONS = {
    FinishReason.LENGTH: "max_tokens",
    FinishReason.CONTENT_FILTER: "refusal",
}
"""Why an answer ended; for all else the model ended its turn."""

_TEXT, _THINKING = "text", "thinking"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def event(name: str, **fields: Json) -> bytes:
    """An event with its data."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode({"type": name, **fields}) + b"\n\n"


class MessageEncoder:
    """Writes one answer: blocks one after another, tools at its end, since only then their calls are whole."""

    def __init__(self, request: Request, answer_id: str) -> None:
        self._request = request
        self._id = answer_id
        self._begun = False
        self._next = 0
        """The place of the next block."""
        self._open: list[int] = []
        self._kind = ""
        """What the last open block holds."""
        self._before = b""
        """How a piece of it begins."""
        self._thoughts = hashlib.sha256()
        self._calls = ToolCalls()

    def follow(self, block: bytes) -> None:
        """Go on with a stream of an engine's own frames, in the block that it left open."""
        self._begun = True
        kinds: dict[int, str] = {}
        for payload in events(block):
            frame = lenient.read(FRAME, payload)
            at = None if frame is None else count(frame.index)
            if frame is None or at is None:
                continue
            if frame.content_block is not None:
                kinds[at] = frame.content_block.type or ""
                self._next = max(self._next, at + 1)
            elif frame.type == "content_block_stop":
                kinds.pop(at, None)
        self._open = sorted(kinds)
        if self._open:
            self._continue(kinds[self._open[-1]])

    def encode(self, event: Event) -> bytes:
        """What a streaming client is sent for an event, b"" for nothing."""
        if isinstance(event, Delta):
            self._calls.add(event.tool_calls)
            pieces = ((_THINKING, event.thinking), (_TEXT, event.text))
            return b"".join(self._piece(kind, said) for kind, said in pieces if said)
        if isinstance(event, Finished):
            return self._ending(event)
        return b""

    def whole(self, events: Iterable[Event]) -> bytes:
        """The answer as one JSON object."""
        gathered = list(events)
        finished = next((event for event in gathered if isinstance(event, Finished)), Finished())
        answer = joined(gathered)
        content: list[Json] = []
        if answer.thinking:
            self._thoughts.update(answer.thinking.encode())
            content.append({"type": _THINKING, "thinking": answer.thinking, "signature": self._signature()})
        if answer.text:
            content.append({"type": _TEXT, "text": answer.text})
        calls, reason, stop = self._ended(answer.tool_calls, finished)
        content += [{**self._tool(call), "input": msgspec.Raw(arguments)} for call, arguments in calls]
        usage = {**self._usage(finished.usage), **self._energy(finished)}
        said = self._message(content, usage)
        return msgspec.json.encode({**said, "stop_reason": reason, "stop_sequence": stop})

    def _message(self, content: list[Json], usage: dict[str, Json]) -> dict[str, Json]:
        return {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "model": self._request.model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }

    def _start(self) -> bytes:
        """The begin of the message, its input tokens estimated until they are known at the end."""
        if self._begun:
            return b""
        self._begun = True
        usage = self._usage(Usage(completion_tokens=0))
        return event("message_start", message=self._message([], usage))

    def _piece(self, kind: str, said: str) -> bytes:
        begin = b"" if self._kind == kind else self._begin(kind)
        if kind == _THINKING:
            self._thoughts.update(said.encode())
        return begin + self._before + msgspec.json.encode(said) + b"}}\n\n"

    def _begin(self, kind: str) -> bytes:
        """The end of the block before, and the begin of one of text or thinking."""
        is_first = not self._begun
        ended = self._start() + self._end()
        block = {"type": kind, kind: "", **({"signature": ""} if kind == _THINKING else {})}
        return ended + self._opened(block) + (PING if is_first else b"")

    def _opened(self, block: dict[str, Json]) -> bytes:
        self._open.append(self._next)
        self._next += 1
        self._continue(block["type"])
        return event("content_block_start", index=self._open[-1], content_block=block)

    def _continue(self, kind: str) -> None:
        self._kind = kind
        delta = f'"index":{self._open[-1]},"delta":{{"type":"{kind}_delta","{kind}":'
        self._before = b'event: content_block_delta\ndata: {"type":"content_block_delta",' + delta.encode()

    def _end(self) -> bytes:
        """The ends of all open blocks."""
        said = b""
        if self._kind == _THINKING:
            delta = {"type": "signature_delta", "signature": self._signature()}
            said = event("content_block_delta", index=self._open[-1], delta=delta)
        said += b"".join(event("content_block_stop", index=at) for at in self._open)
        self._open, self._kind = [], ""
        return said

    def _signature(self) -> str:
        """A checksum, for clients that send back only thinking that is signed; no engine here verifies one."""
        return base64.b64encode(self._thoughts.digest()).decode()

    def _ending(self, finished: Finished) -> bytes:
        calls, reason, stop = self._ended(self._calls.whole(), finished)
        said = self._start() + self._end()
        for call, arguments in calls:
            said += self._opened({**self._tool(call), "input": {}})
            delta = {"type": "input_json_delta", "partial_json": arguments.decode(errors="replace")}
            said += event("content_block_delta", index=self._open[-1], delta=delta) + self._end()
        usage = {**self._usage(finished.usage), **self._energy(finished)}
        told = event("message_delta", delta={"stop_reason": reason, "stop_sequence": stop}, usage=usage)
        return said + told + event("message_stop")

    def _tool(self, call: ToolCallDelta) -> dict[str, Json]:
        return {"type": "tool_use", "id": call.id or f"toolu_{self._id}_{call.index}", "name": call.name or ""}

    def _usage(self, usage: Usage) -> dict[str, Json]:
        """Tokens in Anthropic's form, where those of the cache are no input tokens; the form has no unknown."""
        prompt = self._request.prompt_tokens if usage.prompt_tokens is None else usage.prompt_tokens
        cached = min(usage.cached_tokens or 0, prompt)
        tokens: dict[str, Json] = {"input_tokens": prompt - cached, "output_tokens": usage.completion_tokens or 0}
        if usage.cached_tokens is not None:
            tokens["cache_read_input_tokens"] = cached
        return tokens

    def _ended(
        self, told: Sequence[ToolCallDelta], finished: Finished
    ) -> tuple[list[tuple[ToolCallDelta, bytes]], str, str | None]:
        """The calls that are whole, why the answer ended, and the sequence that it stopped at.

        At the token limit some engines name another reason; what was cut there is no end of a turn.
        """
        calls = whole_calls(told, is_cut=was_cut(finished, self._request))
        if len(calls) < sum(map(says, told)):
            return calls, "max_tokens", None
        return calls, *self._reason(finished, bool(calls))

    def _reason(self, finished: Finished, called: bool) -> tuple[str, str | None]:
        """Why it ended, and the sequence that it stopped at where the engine told."""
        if finished.reason not in {FinishReason.STOP, FinishReason.TOOL_CALLS}:
            return _REASONS.get(finished.reason, "end_turn"), None
        stop = finished.stop_sequence
        if stop is not None and stop in (self._request.content().options.known.get("stop") or ()):
            return "stop_sequence", stop
        return ("tool_use" if called else "end_turn"), None

    def _energy(self, finished: Finished) -> dict[str, Json]:
        return energy_in(finished) if self._request.hints.include_energy else {}
