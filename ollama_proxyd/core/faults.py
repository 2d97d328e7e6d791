"""What a backend's failure speaks of: the table of the kinds, and of the words that engines have for them."""

import re
from collections.abc import Mapping
from enum import Enum

from ollama_proxyd.core.errors import (
    BAD_CALL,
    DEADLINE_EXCEEDED,
    ENGINE_ENDED,
    NOT_LOADED,
    UNREACHABLE,
    ErrorKind,
    ProxyError,
)
from ollama_proxyd.core.requests import WRITING, Operation
from ollama_proxyd.core.values import value


class Fault(Enum):
    """The kind of a failure that is not the client's."""

    REFUSED = "refused"
    RESET = "reset"
    PROCESS_ENDED = "process_ended"
    """That of an engine that the proxy runs; all answers under way on it break with it."""
    STALLED = "stalled"
    SERVER_ERROR = "server_error"
    OUT_OF_MEMORY = "out_of_memory"
    DEVICE_LOST = "device_lost"
    BUSY = "busy"
    RATE_LIMIT = "rate_limit"
    """Its configured limit of requests in a minute; nothing has failed."""
    KEY_REJECTED = "key_rejected"
    NO_CREDIT = "no_credit"
    MODEL_GONE = "model_gone"
    NOT_LOADED = "not_loaded"
    CONTEXT_TOO_SMALL = "context_too_small"
    NO_TOOLS = "no_tools"
    NO_VISION = "no_vision"
    NO_OPERATION = "no_operation"
    """The model, or the engine, has no such operation: embeddings, reranking, speech."""
    NO_FEATURE = "no_feature"
    """Something else that this engine or template lacks."""


REFUSALS = frozenset(
    {
        Fault.NO_CREDIT,
        Fault.MODEL_GONE,
        Fault.CONTEXT_TOO_SMALL,
        Fault.NO_TOOLS,
        Fault.NO_VISION,
        Fault.NO_OPERATION,
        Fault.NO_FEATURE,
    }
)
"""What a backend says of what it was asked for: asking it again does not help."""

ABOUT_MODELS = (REFUSALS - {Fault.NO_CREDIT}) | {Fault.NOT_LOADED}
"""What makes the picture of a backend's models doubtful."""


@value
class Work:
    """The facts of a request that a failure may depend on."""

    model: str
    """The backend's own name of it."""
    operation: Operation = Operation.CHAT
    prompt_tokens: int = 0
    needs_vision: bool = False
    needs_tools: bool = False


def _any(*patterns: str) -> str:
    """What finds one of these; `re` compiles it when the first backend fails, not at each start."""
    return f"(?is){'|'.join(patterns)}"


_CLIENT = range(400, 500)
_SERVER = range(500, 600)
_ERROR = range(400, 600)
_MISSING = frozenset({404, 405, 410})
_REFUSED = frozenset({400, 404, 413, 422, 500, 501})
"""Some engines say with a 500 what others say with a 400."""

_WORDS: tuple[tuple[Fault | None, range | frozenset[int], str], ...] = (
    (None, frozenset({500}), _any(r"failed to parse (tools|messages|tool_choice|tool calls?)\b")),  # which it repeats
    (
        Fault.NO_CREDIT,
        _CLIENT,
        _any(
            r"insufficient[ _](quota|credits?|balance|funds)",
            r"(exceeded your current|out of|no) (quota|credits?)\b",
            r"credit balance",
            r"billing hard limit",
            r"payment required",
        ),
    ),
    (Fault.NO_CREDIT, frozenset({402}), _any("")),
    (Fault.KEY_REJECTED, frozenset({401, 403, 407}), _any("")),
    (Fault.BUSY, frozenset({425, 429, 529}), _any("")),
    (
        Fault.BUSY,
        frozenset({500, 502, 503, 504}),
        _any(
            r"\bbusy\b",
            r"overloaded",
            r"maximum pending requests",
            r"queue",
            r"no slots? available",
            r"loading model|model is (still )?loading|warming up",
            r"too many (concurrent )?requests|rate limit",
            r"at capacity|(please |and )?try again later",
        ),
    ),
    (
        Fault.OUT_OF_MEMORY,
        _ERROR,
        _any(
            r"out[ _]?of[ _]?(\w+[ _]?)?memory",
            r"\boom\b",
            r"(requires|needs) more (\w+ )?memory",
            r"(insufficient|not enough) (\w+ )?(memory|vram)",
            r"(failed|unable|cannot) to allocate|cudamalloc failed|bad_?alloc",
        ),
    ),
    (
        Fault.DEVICE_LOST,
        _SERVER,
        _any(
            r"device[ _]?(is |was )?lost",
            r"(gpu|npu) (is|was|has been) (lost|reset|removed)",
            r"fallen off the bus",
            r"\b(cuda|hip|rocm|sycl|level zero) error",
            r"illegal memory access",
            r"no (cuda-capable|compatible) device",
            r"(npu|gpu) (hang|hung|firmware timeout)",
        ),
    ),
    (
        Fault.CONTEXT_TOO_SMALL,
        _REFUSED,
        _any(
            r"exceed_context_size|context_length_exceeded|maximum context (length|size)",
            r"(exceeds?|exceeded|longer than|larger than|beyond)\b.{0,60}\bcontext\b",
            r"\bcontext\b.{0,60}(exceeded|overflow|too (small|short))",
            r"\b(prompt|input)\b.{0,40}too (long|large)",
            r"\b(input length|tokens`?)\b.{0,80}(must be <=|exceeds )",
        ),
    ),
    (
        Fault.NO_TOOLS,
        _REFUSED,
        _any(
            r"(does not|doesn't|not) support (tools?|tool[ _]\w+|functions?|function[ _]calling)\b",
            r"(tools?|tool[ _](use|calls?|calling|choice)|function[ _]calling)( param)? "
            r"(is|are|requires?).{0,40}(not|unsupported|--jinja|--)",
            r"--enable-auto-tool-choice|--tool-call-parser|--jinja",
        ),
    ),
    (
        Fault.NO_VISION,
        _REFUSED,
        _any(
            r"(image|vision|multi-?modal|audio)( input)?s? (is|are) not (supported|enabled)",
            r"only 'text' content type is supported",
            r"(does not|doesn't|not) support (images?|vision|multi-?modal|audio)",
            r"not a multi-?modal model|mmproj|at most 0 (image|audio)",
        ),
    ),
    (
        Fault.NO_OPERATION,
        _REFUSED,
        _any(
            r"(does not|doesn't|not) support (the )?(generat|chat|completion|embed|re-?rank)",
            r"(does not|doesn't|not) support (the )?(transcri|translat|speech|tts\b|text[- ]to[- ]|image gen)",
            r"(embeddings?|re-?ranking|transcriptions?|translations?|speech|image generation) (is|are|api is) not "
            r"(supported|enabled|available)",
            r"embeddings?=true|--embeddings?\b|--rerank(ing)?\b|not an? (embedding|reranking) model",
        ),
    ),
    (Fault.NO_OPERATION, frozenset({501}), _any("")),
    (
        Fault.NOT_LOADED,
        _ERROR,
        _any(
            r"no models? (is |are )?(currently )?loaded",
            r"model (is |was )?(not (yet |currently )?loaded|unloaded)",
            r"(failed|unable|could not|cannot) (to )?load .{0,40}model",
        ),
    ),
    (
        Fault.MODEL_GONE,
        _REFUSED | {410},
        _any(
            r"\bmodels?\b.{0,200}?(not found|does not exist|doesn't exist|not installed|no longer|is not available)",
            r"(unknown|no such|invalid|holds no) model\b|model_not_found|invalid model identifier",
            r"repository not found|graph definition with requested name|cached snapshot folder",
            r"try pulling it first",
        ),
    ),
    (Fault.SERVER_ERROR, _MISSING, _any(r"generation thread died")),
    (
        Fault.NO_FEATURE,  # mlx_lm.server says with a 404 whatever befalls a request, such as in its chat template
        frozenset({404}),
        _any(r'^\s*\{"error": ?"(?!.*(not found|no such|unknown|unexpected|invalid url|not implemented))'),
    ),
    (Fault.NO_OPERATION, _MISSING, _any("")),
    (
        Fault.NO_FEATURE,
        _REFUSED,
        _any(
            r"(does not|doesn't) support \w+|(is|are) not supported by (this|the) (model|server)",
            r"cannot be greater than max_model_len",  # another one may have more room for the answer
        ),
    ),
    (
        None,
        frozenset({500}),
        _any(
            r"^\W*(\{\"error\":\W*)?(invalid (format|option|request|argument|type|json|grammar)\b)",
            r"option \W*\w+\W* must be of type",
            r"failed to parse (grammar|input|request)|json schema conversion failed",
            r"json\.exception\.(type_error|out_of_range)|\b(vector|basic_string)::_M_\w+",  # a type, a size
        ),
    ),
    (Fault.STALLED, frozenset({408, 504}), _any("")),
    (Fault.SERVER_ERROR, _SERVER, _any("")),
)
"""From the rarest words to the commonest; the first row that fits decides. None: the request itself is at fault."""

_OF_THE_REQUEST = frozenset({*range(400, 418), *range(420, 425), 426, 428, 431, 451})
"""Statuses by which a server can speak of a request; others say that something is wrong with the server."""

MOST_READ = 4000
"""How much of an error's words is looked at."""


def fault_in(status: int, words: str, *, asks_for_patience: bool = False) -> Fault | None:
    """What an error status with these words speaks of; None for the request itself.

    `asks_for_patience` tells whether the answer has a Retry-After.
    """
    if status == 503 and asks_for_patience:
        return Fault.BUSY
    said = words[:MOST_READ]
    unsaid = None if status in _OF_THE_REQUEST else Fault.SERVER_ERROR
    return next((fault for fault, statuses, signs in _WORDS if status in statuses and re.search(signs, said)), unsaid)


_OF_WRITING = frozenset({Fault.NO_TOOLS, Fault.NO_VISION, Fault.NO_FEATURE})


def lack_of(fault: Fault | None, operation: Operation) -> Fault | None:
    """What a fault says of its backend: what keeps it from an operation but writing says nothing of others."""
    return Fault.NO_OPERATION if fault in _OF_WRITING and operation not in WRITING else fault


_BY_KIND: Mapping[ErrorKind, Fault] = {
    ErrorKind.UPSTREAM_TIMEOUT: Fault.STALLED,
    ErrorKind.UPSTREAM_FAILED: Fault.RESET,
    ErrorKind.NO_ROOM: Fault.OUT_OF_MEMORY,
}
_BY_CODE: Mapping[str | None, Fault | None] = {
    UNREACHABLE: Fault.REFUSED,
    NOT_LOADED: Fault.NOT_LOADED,
    ENGINE_ENDED: Fault.PROCESS_ENDED,
    DEADLINE_EXCEEDED: None,
    BAD_CALL: None,
}


def fault_of(failure: ProxyError) -> Fault | None:
    """What a failed attempt speaks of; None for the request itself and for the client's own deadline."""
    if failure.kind is not ErrorKind.UPSTREAM_REJECTED and failure.kind not in _BY_KIND:
        return None
    if failure.code in _BY_CODE:
        return _BY_CODE[failure.code]
    words = failure.message if failure.detail is None else failure.detail
    if failure.status is not None and failure.status >= 400:
        return fault_in(failure.status, words, asks_for_patience=failure.retry_after_s is not None)
    is_reported = failure.detail is not None or failure.status is not None
    return fault_in(500, words) if is_reported else _BY_KIND.get(failure.kind)
