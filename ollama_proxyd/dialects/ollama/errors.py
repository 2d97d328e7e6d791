"""How Ollama's clients are told what went wrong: a status, and {"error": "a sentence"}."""

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.text import printable
from ollama_proxyd.dialects.framing.jsonbody import object_in, quoted
from ollama_proxyd.dialects.framing.statuses import status_of
from ollama_proxyd.dialects.ollama.options import OPTION_TYPE

_UPSTREAM = frozenset({ErrorKind.UPSTREAM_REJECTED, ErrorKind.UPSTREAM_FAILED})


def render_error(error: ProxyError) -> tuple[int, bytes]:
    """The status and the body of an error.

    An Ollama backend's own body goes on as it is, another one's JSON as a string, as Ollama itself passes on what its
    engine says.
    """
    if error.kind is ErrorKind.INVALID_REQUEST and error.code == OPTION_TYPE:
        return 500, _body(error.message)
    return status_of(error), _backends_own(error) or _body(error.message)


def stream_error(error: ProxyError) -> bytes:
    """The error as a line."""
    return render_error(error)[1] + b"\n"


def not_found(endpoint: str, model: str, error: ProxyError) -> ProxyError:
    """A MODEL_NOT_FOUND in the words that Ollama uses for this endpoint, followed by what there is instead.

    What there is follows the first semicolon of the error's own sentence, where it has one.
    """
    start = _absence(endpoint, printable(model))
    if error.kind is not ErrorKind.MODEL_NOT_FOUND or error.message.startswith(start):
        return error
    there_is = error.message.partition("; ")[2] or error.message
    return error.but(message=f"{start}; {there_is}")


def _absence(endpoint: str, model: str) -> str:
    if endpoint in {"embed", "embeddings"}:
        return f"model {quoted(model)} not found, try pulling it first"
    if endpoint == "show" and ":" not in model.rsplit("/", 1)[-1]:
        return f"model '{model}:latest' not found"
    return f"model '{model}' not found"


def _backends_own(error: ProxyError) -> bytes | None:
    """What the backend said, where that is a JSON object."""
    if error.kind not in _UPSTREAM or error.detail is None:
        return None
    said = object_in(error.detail)
    if said is None:
        return None
    text = error.detail.strip()
    return text.encode() if isinstance(said.get("error"), str) else _body(text)


def _body(text: str) -> bytes:
    return msgspec.json.encode({"error": text})
