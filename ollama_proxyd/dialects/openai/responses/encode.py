"""Writes answers for clients of the Responses API: every event with its number and its place."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished, FinishReason, TokenLogprob, ToolCallDelta, Usage
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.dialects.framing import sse
from ollama_proxyd.dialects.framing.gathering import ToolCalls, finished_calls
from ollama_proxyd.dialects.framing.jsonbody import energy_in, object_in
from ollama_proxyd.dialects.framing.numbers import count
from ollama_proxyd.dialects.openai.encode import logprob_object
from ollama_proxyd.dialects.openai.errors import render_error
from ollama_proxyd.dialects.openai.responses.decode import payloads

_TEXT, _THINKING = "output_text", "reasoning_text"
_KINDS = {"message": _TEXT, "reasoning": _THINKING}
_SAID = frozenset(f"response.{each}.delta" for each in _KINDS.values())
_OF_THE_END = frozenset({"status", "output", "usage"})
_INCOMPLETE = {FinishReason.LENGTH: "max_output_tokens", FinishReason.CONTENT_FILTER: "content_filter"}
"""Why an answer has no proper end; all else completes it."""

Keep = Callable[[str, bytes, list[Json]], None]
"""Takes a finished response: its id, its JSON and its output."""


class Ids(NamedTuple):
    """What names a response, when it began, and what tells when it ends."""

    key: str
    created: int
    unix_s: Callable[[], int]


class ResponseEncoder:
    """Writes one answer: items one after another, calls at its end, since only then they are whole."""

    def __init__(self, request: Request, settings: dict[str, Json], ids: Ids, keep: Keep | None) -> None:
        self._request = request
        self._key = ids.key
        self._unix_s = ids.unix_s
        self._keep = keep
        self._head: dict[str, Json] = {
            "id": f"resp_{ids.key}",
            "object": "response",
            "created_at": ids.created,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": request.model,
            **settings,
        }
        self._number = 0
        self._output: list[Json] = []
        self._kind = ""
        """What the open item holds."""
        self._item: dict[str, Json] = {}
        self._said: list[str] = []
        self._logprobs: list[Json] = []
        self._calls = ToolCalls()

    def follow(self, block: bytes) -> None:
        """Go on with a stream of an engine's own frames: its ids, its numbers, and the item that it left open."""
        for payload in payloads(block):
            told = object_in(payload) or {}
            number = count(told.get("sequence_number"))
            self._number = (self._number if number is None else number) + 1
            kind, item, delta = told.get("type"), told.get("item"), told.get("delta")
            if isinstance(response := told.get("response"), dict):
                self._head |= {name: response[name] for name in response if name not in _OF_THE_END}
            elif kind == "response.output_item.done":
                self._kind = ""
                self._output.append(item)
            elif kind == "response.output_item.added" and isinstance(item, dict):
                self._kind, self._item, self._said = _KINDS.get(str(item.get("type")), ""), item, []
                item["id"] = item.get("id") or f"item_{self._key}_{len(self._output)}"
            elif isinstance(delta, str) and kind in _SAID:
                self._said.append(delta)

    def encode(self, event: Event) -> bytes:
        """What a streaming client is sent for an event, b"" for nothing."""
        if isinstance(event, Delta):
            self._calls.add(event.tool_calls)
            thought = self._piece(_THINKING, event.thinking, None) if event.thinking else b""
            return thought + (self._piece(_TEXT, event.text, event.logprobs) if event.text else b"")
        if isinstance(event, Finished):
            return self._ending(event)
        return b""

    def whole(self, events: Iterable[Event]) -> bytes:
        """The answer as one JSON object."""
        finished = Finished()
        for event in events:
            if isinstance(event, Finished):
                finished = event
            else:
                self.encode(event)
        self._close(finished)
        self._add_calls(finished_calls(self._calls.whole(), finished))
        return self._finished(finished)

    def failed(self, error: ProxyError) -> bytes:
        """The last events of a stream that broke off; clients that know no failed response read the error."""
        told = msgspec.json.decode(render_error(error)[1])["error"]
        failure = {"code": "server_error", "message": error.message}
        begun = self._begun()
        response = {**self._head, "status": "failed", "output": self._output, "usage": None, "error": failure}
        failed = self._event("response.failed", response=response)
        return (
            begun + failed + self._event("error", code=told.get("code"), message=error.message, param=None, error=told)
        )

    def _event(self, kind: str, /, **fields: Json) -> bytes:
        data = msgspec.json.encode({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"

    def _begun(self) -> bytes:
        if self._number:
            return b""
        response = {**self._head, "status": "in_progress", "output": [], "usage": None}
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def _place(self) -> dict[str, Json]:
        return {"item_id": self._item["id"], "output_index": len(self._output), "content_index": 0}

    def _piece(self, kind: str, said: str, logprobs: tuple[TokenLogprob, ...] | None) -> bytes:
        begin = b"" if self._kind == kind else self._begun() + self._close() + self._open(kind)
        self._said.append(said)
        fields: dict[str, Json] = {**self._place(), "delta": said}
        if kind == _TEXT:
            fields["logprobs"] = [logprob_object(token) for token in logprobs or ()]
            self._logprobs += fields["logprobs"]
        return begin + self._event(f"response.{kind}.delta", **fields)

    def _open(self, kind: str) -> bytes:
        self._kind, self._said, self._logprobs = kind, [], []
        self._item = self._new_item(kind)
        index = len(self._output)
        added = self._event("response.output_item.added", output_index=index, item=self._item)
        return added + self._event("response.content_part.added", **self._place(), part=_part(kind, "", []))

    def _new_item(self, kind: str) -> dict[str, Json]:
        number = f"{self._key}_{len(self._output)}"
        if kind == _THINKING:
            return {"type": "reasoning", "id": f"rs_{number}", "status": "in_progress", "summary": [], "content": []}
        return {
            "type": "message",
            "id": f"msg_{number}",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }

    def _close(self, finished: Finished | None = None) -> bytes:
        """The end of the open item, which the answer's end may have cut."""
        if not self._kind:
            return b""
        kind, text = self._kind, "".join(self._said)
        part = _part(kind, text, self._logprobs)
        more: dict[str, Json] = {"logprobs": self._logprobs} if kind == _TEXT else {}
        done = self._event(f"response.{kind}.done", **self._place(), text=text, **more)
        done += self._event("response.content_part.done", **self._place(), part=part)
        self._kind = ""
        status = "incomplete" if finished is not None and finished.reason in _INCOMPLETE else "completed"
        return done + self._added({**self._item, "status": status, "content": [part]})

    def _added(self, item: dict[str, Json]) -> bytes:
        index = len(self._output)
        self._output.append(item)
        return self._event("response.output_item.done", output_index=index, item=item)

    def _add_calls(self, calls: Iterable[tuple[ToolCallDelta, bytes]]) -> bytes:
        said = b""
        for call, raw in calls:
            arguments, number = raw.decode(errors="replace"), f"{self._key}_{len(self._output)}"
            item = {"type": "function_call", "id": f"fc_{number}", "call_id": call.id or f"call_{number}"}
            item |= {"name": call.name or "", "arguments": "", "status": "in_progress"}
            place = {"item_id": item["id"], "output_index": len(self._output)}
            said += self._event("response.output_item.added", output_index=len(self._output), item=item)
            said += self._event("response.function_call_arguments.delta", **place, delta=arguments)
            said += self._event(
                "response.function_call_arguments.done", **place, name=call.name or "", arguments=arguments
            )
            said += self._added({**item, "arguments": arguments, "status": "completed"})
        return said

    def _ending(self, finished: Finished) -> bytes:
        calls = finished_calls(self._calls.whole(), finished)  # fails before anything is numbered
        said = self._begun() + self._close(finished) + self._add_calls(calls)
        name = "response.incomplete" if finished.reason in _INCOMPLETE else "response.completed"
        return said + self._event(name, response=msgspec.Raw(self._finished(finished)))

    def _finished(self, finished: Finished) -> bytes:
        why = _INCOMPLETE.get(finished.reason)
        energy = energy_in(finished) if self._request.hints.include_energy else {}
        ending = {
            "status": "completed" if why is None else "incomplete",
            "completed_at": self._unix_s() if why is None else None,
            "incomplete_details": None if why is None else {"reason": why},
            "output": self._output,
            "usage": {**usage_of(finished.usage), **energy},
        }
        body = msgspec.json.encode({**self._head, **ending})
        if self._keep is not None:
            self._keep(self._head["id"], body, self._output)
        return body


def own_error(error: ProxyError) -> bytes:
    """The last event of a stream of an engine's own events that broke off."""
    told = msgspec.json.decode(render_error(error)[1])["error"]
    event = {"type": "error", "code": told.get("code"), "message": error.message, "param": None, "error": told}
    return sse.named(msgspec.json.encode(event))


def _part(kind: str, text: str, logprobs: list[Json]) -> dict[str, Json]:
    part: dict[str, Json] = {"type": kind, "text": text}
    return {**part, "annotations": [], "logprobs": logprobs} if kind == _TEXT else part


def usage_of(usage: Usage) -> dict[str, Json]:
    """Tokens in the form of Responses, which has no unknown; no engine tells those of thinking apart."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }
