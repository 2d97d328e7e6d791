"""POST /infer, as modeld had it: a prompt in, lines of tokens out, all of the answer in the last line."""

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

import msgspec

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Delta, Event, Finished
from ollama_proxyd.core.requests import Api, Hints, Json, Request
from ollama_proxyd.dialects.base import ClientDialect, Encoder, Stamps
from ollama_proxyd.dialects.framing.jsonbody import decode_object, energy_in, invalid_request
from ollama_proxyd.dialects.framing.statuses import STATUS_OF_CODE, status_of
from ollama_proxyd.dialects.openai.parse import parse_completion

PATH = "/infer"
FIELDS = ("prompt", "max_tokens", "temperature", "top_p", "top_k", "stop", "seed", "repeat_penalty")


def parse(body: bytes, hints: Hints, any_model: str | None = None) -> Request:
    """The request as a completion, by any_model where it names none; raises ProxyError."""
    fields = decode_object(body)
    model, prompt, stream = fields.get("model"), fields.get("prompt"), fields.get("stream")
    if model is not None and not isinstance(model, str):
        raise invalid_request("model must be a text", "model")
    if not isinstance(prompt, str) or not prompt:
        raise invalid_request("prompt is required", "prompt")
    if stream is not None and not isinstance(stream, bool):
        raise invalid_request("stream must be true or false", "stream")
    asked = {name: fields[name] for name in FIELDS if fields.get(name) is not None}
    asked |= {"model": model or any_model, "stream": stream is not False, "stream_options": {"include_usage": True}}
    return replace(parse_completion(msgspec.json.encode(asked), hints), api=Api.INFER, endpoint="infer")


def render_error(error: ProxyError) -> tuple[int, bytes]:
    """{"error": a sentence, "code": the status}."""
    status = STATUS_OF_CODE.get(error.code, status_of(error))
    return status, msgspec.json.encode({"error": error.message, "code": status})


def stream_error(error: ProxyError) -> bytes:
    """The error as a line."""
    return render_error(error)[1] + b"\n"


class Infer(ClientDialect):
    """Lines of JSON."""

    api = Api.INFER
    whole_type = "application/json"
    stream_type = "application/x-ndjson"
    prefix = PATH
    option_places = MappingProxyType({name: (name,) for name in ("model", *FIELDS) if name != "prompt"})
    render_error = staticmethod(render_error)
    stream_error = staticmethod(stream_error)

    def encoder(self, request: Request, stamps: Stamps, begun_ns: int) -> Encoder:  # noqa: ARG002 - see base
        """An encoder for one answer."""
        return _Lines(tells_energy=request.hints.include_energy)


class _Lines:
    def __init__(self, *, tells_energy: bool) -> None:
        self._said: list[str] = []
        self._tells_energy = tells_energy

    def encode(self, event: Event) -> bytes:
        """A line for each token, and the last one."""
        if isinstance(event, Delta) and event.text:
            self._said.append(event.text)
            return msgspec.json.encode({"token": event.text}) + b"\n"
        return msgspec.json.encode(self._last(event)) + b"\n" if isinstance(event, Finished) else b""

    def whole(self, events: Iterable[Event]) -> bytes:
        """The last line alone."""
        lines = [self.encode(event) for event in events]
        return lines[-1].rstrip() if lines else b""

    def follow(self, block: bytes) -> None:
        """Its lines are always made here."""

    def _last(self, finished: Finished) -> dict[str, Json]:
        usage = finished.usage
        prompt, written = usage.prompt_tokens, usage.completion_tokens
        total = None if prompt is None or written is None else prompt + written
        return {
            "done": True,
            "content": "".join(self._said),
            "finish_reason": finished.reason.value,
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": written,
                "total_tokens": total,
                **(energy_in(finished) if self._tells_energy else {}),
            },
        }
