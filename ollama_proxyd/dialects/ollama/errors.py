"""How Ollama's clients are told what went wrong: a status, and {"error": "a sentence"}."""

from collections.abc import Mapping

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.ollama.bodies import go_quote
from ollama_proxyd.dialects.ollama.settings import OPTION_TYPE

STATUSES: Mapping[ErrorKind, int] = {
    ErrorKind.INVALID_REQUEST: 400,
    ErrorKind.UNSUPPORTED: 400,
    ErrorKind.UNAUTHORIZED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.ROUTE_NOT_FOUND: 404,
    ErrorKind.BACKEND_NOT_FOUND: 404,
    ErrorKind.MODEL_NOT_FOUND: 404,
    ErrorKind.METHOD_NOT_ALLOWED: 405,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.OVERLOADED: 429,
    ErrorKind.UPSTREAM_REJECTED: 400,
    ErrorKind.UPSTREAM_FAILED: 502,
    ErrorKind.UPSTREAM_TIMEOUT: 504,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.INTERNAL: 500,
}

_UPSTREAM = frozenset({ErrorKind.UPSTREAM_REJECTED, ErrorKind.UPSTREAM_FAILED})
_OBJECT = msgspec.json.Decoder(dict[str, Json])


def render_error(error: ProxyError) -> tuple[int, bytes]:
    """The status and the body of an error.

    A backend's own error keeps its status. An Ollama backend's body goes on as it is, another one's JSON as a
    string, as Ollama itself passes on what its engine says.
    """
    if error.kind in _UPSTREAM and error.detail is not None and (detail := _json_object(error.detail)) is not None:
        text = error.detail.strip()
        body = text.encode() if isinstance(detail.get("error"), str) else _body(text)
        return error.status or STATUSES[error.kind], body
    if error.kind is ErrorKind.INVALID_REQUEST and error.code == OPTION_TYPE:
        return 500, _body(error.message)
    own_status = error.status if error.kind in _UPSTREAM else None
    return own_status or STATUSES[error.kind], _body(error.message)


def not_found(endpoint: str, model: str, error: ProxyError) -> ProxyError:
    """A MODEL_NOT_FOUND in the words that Ollama uses for this endpoint, followed by what there is instead.

    What there is follows the first semicolon of the error's own sentence, where it has one.
    """
    start = _absence(endpoint, model)
    if error.kind is not ErrorKind.MODEL_NOT_FOUND or error.message.startswith(start):
        return error
    there_is = error.message.partition("; ")[2] or error.message
    worded = ProxyError(error.kind, f"{start}; {there_is}", param=error.param, code=error.code)
    worded.decision, worded.backend_id = error.decision, error.backend_id
    return worded


def _absence(endpoint: str, model: str) -> str:
    if endpoint in {"embed", "embeddings"}:
        return f"model {go_quote(model)} not found, try pulling it first"
    if endpoint == "show" and ":" not in model.rsplit("/", 1)[-1]:
        return f"model '{model}:latest' not found"
    return f"model '{model}' not found"


def _json_object(text: str) -> dict[str, Json] | None:
    try:
        return _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _body(text: str) -> bytes:
    return msgspec.json.encode({"error": text})
