"""OpenAI's API as an exchange speaks it."""

from collections.abc import Iterator

from ollama_proxyd.core.events import Event
from ollama_proxyd.core.requests import Api, Embedding, Operation, Request
from ollama_proxyd.dialects.framing.sse import SseCutter, events
from ollama_proxyd.dialects.openai import decode, ending
from ollama_proxyd.dialects.openai.render import Rendered, render
from ollama_proxyd.dialects.openai.vectors import decode_embeddings
from ollama_proxyd.edges.backends.speech import renamed_lines

_DATA = b"data:"


class OpenAISpeech:
    """Server-sent events; `base` is where the API begins, `flavor` the engine's name."""

    api = Api.OPENAI
    stream_type = "text/event-stream"
    answers_loads = False

    def __init__(self, base: str, flavor: str) -> None:
        self._base = base
        self._flavor = flavor

    def render(self, request: Request, model: str) -> Rendered:
        """The request under the backend's own model name."""
        rendered = render(request, model, self._flavor)
        return Rendered(self._base + rendered.path, rendered.body, rendered.ignored_fields)

    def echoes(self, asked: str, model: str) -> bool:
        """These servers put their own name for the model into every frame."""
        return asked == model

    def is_stream(self, request: Request, content_type: str) -> bool:  # noqa: ARG002 - the other dialect needs it
        """Only what calls itself a stream is one: some servers answer whole although a stream was asked for."""
        return content_type == self.stream_type

    def cutter(self) -> SseCutter:
        """A new cutter."""
        return SseCutter()

    def tail(self) -> ending.Tail:
        """A new tail."""
        return ending.Tail()

    def ending_of(self, body: bytes) -> ending.Ending:
        """How an answer ended that came whole."""
        return ending.peek_answer(body)

    def decoder(self, request: Request) -> decode.StreamDecoder:
        """A new decoder; usage comes after the finish reason, so only the end of the stream is the end."""
        return decode.StreamDecoder(_top_logprobs(request))

    def decode_answer(self, request: Request, body: bytes) -> list[Event]:
        """The events of an answer that came whole."""
        if request.operation is Operation.EMBEDDING and isinstance(content := request.content(), Embedding):
            return decode_embeddings(body, content)
        return decode.decode_answer(body, _top_logprobs(request))

    def payloads(self, block: bytes) -> Iterator[bytes]:
        """The data of each event."""
        return events(block)

    def rename(self, block: bytes, name: str) -> bytes:
        """The events, or a whole answer, with another model name."""
        return renamed_lines(block, name, _split)


def _top_logprobs(request: Request) -> int | None:
    """How many alternatives to keep: all where the engine read the client's own wish, in whatever words."""
    return None if request.api is Api.OPENAI else decode.top_logprobs_of(request.content())


def _split(line: bytes) -> tuple[bytes, bytes, bytes]:
    """An event's data line, or a line of a whole answer."""
    content = line.rstrip(b"\r\n")
    if not content.startswith(_DATA):
        return b"", b"", line
    payload = content[len(_DATA) :].lstrip(b" ")
    return content[: len(content) - len(payload)], payload, line[len(content) :]
