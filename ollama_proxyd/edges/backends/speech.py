"""What an exchange needs of a dialect, and what both dialects share."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.events import Event, Finished
from ollama_proxyd.core.requests import Api, Request
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, with_model

_JSON = msgspec.json.Decoder(msgspec.Raw)


class Ending(Protocol):
    """How an answer that was passed on ended."""

    @property
    def finished(self) -> Finished:
        """What the end said of reason, tokens and times."""

    @property
    def complete(self) -> bool:
        """Whether it was the proper end."""

    @property
    def error(self) -> ProxyError | None:
        """What the backend said that it failed with."""


class Rendered(Protocol):
    """A request as a backend takes it."""

    @property
    def path(self) -> str:
        """Where to POST it."""

    @property
    def body(self) -> bytes:
        """What to POST."""

    @property
    def ignored_fields(self) -> tuple[str, ...]:
        """What the backend's API cannot express."""


class Cutter(Protocol):
    """Cuts a stream into whole frames."""

    def feed(self, chunk: bytes) -> bytes:
        """All frames that are whole now."""

    def rest(self) -> bytes:
        """What came after the last whole frame."""


class Tail(Protocol):
    """Keeps of a stream what its ending will be read from."""

    def add(self, block: bytes) -> None:
        """Note whole frames on their way to the client."""

    def ending(self) -> Ending:
        """How the stream ended."""


class Decoder(Protocol):
    """Turns whole frames into events."""

    def feed(self, block: bytes) -> list[Event]:
        """The events of a block of frames."""

    def finish(self) -> Finished:
        """How the stream ended; raises when it broke off."""


class Speech(Protocol):
    """How one dialect is spoken with a backend."""

    @property
    def api(self) -> Api:
        """Which one."""

    @property
    def stream_type(self) -> str:
        """The content type of its streams."""

    @property
    def answers_loads(self) -> bool:
        """Whether it has a way to ask only for loading or unloading a model."""

    def render(self, request: Request, model: str) -> Rendered:
        """The request under the backend's own model name."""

    def echoes(self, asked: str, model: str) -> bool:
        """Whether answers to a request rendered for `model` already carry the name that the client asked for."""

    def is_stream(self, request: Request, content_type: str) -> bool:
        """Whether an answer comes in frames."""

    def cutter(self) -> Cutter:
        """A new cutter."""

    def tail(self) -> Tail:
        """A new tail."""

    def ending_of(self, body: bytes) -> Ending:
        """How an answer ended that came whole."""

    def decoder(self, request: Request) -> Decoder:
        """A new decoder for the answer to a request."""

    def decode_answer(self, request: Request, body: bytes) -> list[Event]:
        """The events of an answer that came whole."""

    def payloads(self, block: bytes) -> Iterator[bytes]:
        """The JSON texts in a block of whole frames, and what stands in their place."""

    def rename(self, block: bytes, name: str) -> bytes:
        """The frames with another model name."""


def renamed(payload: bytes, name: str) -> bytes:
    """A JSON object under another model name; anything without one is left as it is."""
    try:
        fields = decode_fields(payload)
    except ProxyError:
        return payload
    return with_model(payload, fields, name) if "model" in fields else payload


def renamed_lines(block: bytes, name: str, split: Callable[[bytes], tuple[bytes, bytes, bytes]]) -> bytes:
    """A block of lines renamed; `split` tells of each what comes before its payload, the payload, and the rest."""
    lines = []
    for line in block.splitlines(keepends=True):
        before, payload, after = split(line)
        lines.append(before + renamed(payload, name) + after if payload else line)
    return b"".join(lines)


def is_whole(payloads: Iterable[bytes]) -> bool:
    """Whether there are payloads and each is a whole JSON text or the mark of the end."""
    texts = tuple(payloads)
    return bool(texts) and all(text.strip() == b"[DONE]" or _is_json(text) for text in texts)


def _is_json(text: bytes) -> bool:
    try:
        _JSON.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
