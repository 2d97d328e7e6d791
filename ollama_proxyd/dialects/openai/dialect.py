"""OpenAI's API as one dialect."""

from collections.abc import Iterator

from ollama_proxyd.core.events import Event
from ollama_proxyd.core.requests import Api, Embedding, Operation, Request
from ollama_proxyd.dialects.base import Dialect, Ending, Rendered
from ollama_proxyd.dialects.framing.sse import SseSplitter, events
from ollama_proxyd.dialects.openai import decode, ending
from ollama_proxyd.dialects.openai.quirks import GENERIC, Quirks
from ollama_proxyd.dialects.openai.render import render
from ollama_proxyd.dialects.openai.vectors import decode_embeddings

_DATA = b"data:"


class OpenAI(Dialect):
    """Server-sent events; `base` is where an engine's API begins, `quirks` how the engine differs."""

    api = Api.OPENAI
    stream_type = "text/event-stream"
    frame_mark = _DATA
    tail_blocks = 4  # a finish reason, the usage and [DONE] may each come alone
    answers_loads = False

    def __init__(self, base: str = "/v1", quirks: Quirks = GENERIC) -> None:
        self.base = base
        self.quirks = quirks

    def render(self, request: Request, model: str) -> Rendered:
        """The request under the engine's own model name."""
        return render(request, model, self.base, self.quirks)

    def echoes(self, asked: str, model: str) -> bool:
        """These engines put their own name for the model into every frame."""
        return asked == model

    def is_stream(self, request: Request, content_type: str) -> bool:  # noqa: ARG002 - the other dialect needs it
        """Only what calls itself a stream is one: some engines answer whole although a stream was asked for."""
        return content_type == self.stream_type

    def splitter(self) -> SseSplitter:
        """A splitter for one stream."""
        return SseSplitter()

    def payloads(self, block: bytes) -> Iterator[bytes]:
        """The data of each event."""
        return events(block)

    def split_line(self, line: bytes) -> tuple[bytes, bytes, bytes]:
        """An event's data line, or a line of a whole answer."""
        content = line.rstrip(b"\r\n")
        if not content.startswith(_DATA):
            return b"", b"", line
        payload = content[len(_DATA) :].lstrip(b" ")
        return content[: len(content) - len(payload)], payload, line[len(content) :]

    def stream_ending(self, tail: bytes, frames: int) -> Ending:
        """How a stream ended."""
        return ending.peek_usage(tail, frames)

    def answer_ending(self, body: bytes) -> Ending:
        """How a whole answer ended."""
        return ending.peek_answer(body)

    def decoder(self, request: Request) -> decode.StreamDecoder:
        """A decoder; usage comes after the finish reason, so only the end of the stream is the end."""
        return decode.StreamDecoder(_top_logprobs(request))

    def decode_answer(self, request: Request, body: bytes) -> list[Event]:
        """The events of a whole answer."""
        if request.operation is Operation.EMBEDDING and isinstance(content := request.content(), Embedding):
            return decode_embeddings(body, content)
        return decode.decode_answer(body, _top_logprobs(request))


def _top_logprobs(request: Request) -> int | None:
    """How many alternatives to keep: all where the engine read the client's own words."""
    return None if request.api is Api.OPENAI else decode.top_logprobs_of(request.content())
