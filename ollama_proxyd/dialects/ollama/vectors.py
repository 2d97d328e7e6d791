"""Writes the answers of /api/embed and of the older /api/embeddings."""

from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Embedded, Event, Finished
from ollama_proxyd.core.requests import Request
from ollama_proxyd.dialects.ollama.counters import count
from ollama_proxyd.dialects.ollama.lines import Counters, with_counters


def encode_vectors(request: Request, events: Iterable[Event], finished: Finished, total_ns: int) -> bytes:
    """The vectors; a request without a text only loads the model and gets none."""
    vectors = tuple(vector for event in events if isinstance(event, Embedded) for vector in event.vectors)
    if not vectors and request.load_action is None:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "the backend sent no vectors")
    if request.endpoint == "embeddings":
        return msgspec.json.encode({"embedding": vectors[0] if vectors else ()})
    body = msgspec.json.encode({"model": request.model, "embeddings": vectors})
    if not vectors:
        return body
    known = count(finished, total_ns, first_ns=None)
    return with_counters(
        body,
        Counters(
            total_duration=known.total_duration,
            load_duration=known.load_duration,
            prompt_eval_count=known.prompt_eval_count,
        ),
    )
