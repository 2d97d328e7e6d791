"""Ollama's API as an exchange speaks it."""

import secrets
from collections.abc import Iterator

from ollama_proxyd.core.events import Event
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.requests import Api, Request
from ollama_proxyd.dialects.framing.ndjson import NdjsonCutter, lines
from ollama_proxyd.dialects.ollama import decode, ending
from ollama_proxyd.dialects.ollama.render import Rendered, render
from ollama_proxyd.edges.backends.speech import renamed_lines


class OllamaSpeech:
    """NDJSON lines, each an object; the last one is done."""

    api = Api.OLLAMA
    stream_type = "application/x-ndjson"
    answers_loads = True

    def render(self, request: Request, model: str) -> Rendered:
        """The request under the backend's own model name."""
        return render(request, model)

    def echoes(self, asked: str, model: str) -> bool:
        """Ollama repeats the name as it was asked, in whichever spelling."""
        return canonical(asked) == canonical(model)

    def is_stream(self, request: Request, content_type: str) -> bool:
        """Lines and a single object read the same, and some servers call both JSON."""
        return content_type == self.stream_type or request.stream

    def cutter(self) -> NdjsonCutter:
        """A new cutter."""
        return NdjsonCutter()

    def tail(self) -> ending.Tail:
        """A new tail."""
        return ending.Tail()

    def ending_of(self, body: bytes) -> ending.Ending:
        """How an answer ended that came whole."""
        return ending.peek_answer(body)

    def decoder(self, request: Request) -> decode.StreamDecoder:  # noqa: ARG002 - the other dialect needs it
        """A new decoder."""
        return decode.StreamDecoder(_call_id_prefix())

    def decode_answer(self, request: Request, body: bytes) -> list[Event]:
        """The events of an answer that came whole."""
        return decode.decode_answer(body, request.operation, _call_id_prefix())

    def payloads(self, block: bytes) -> Iterator[bytes]:
        """The lines."""
        return lines(block)

    def rename(self, block: bytes, name: str) -> bytes:
        """The lines with another model name."""
        return renamed_lines(block, name, _split)


def _split(line: bytes) -> tuple[bytes, bytes, bytes]:
    payload = line.rstrip(b"\r\n")
    return b"", payload, line[len(payload) :]


def _call_id_prefix() -> str:
    """Ids of tool calls must differ between the turns of a conversation."""
    return f"call_{secrets.token_hex(4)}_"
