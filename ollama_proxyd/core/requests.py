"""What a client asks for, in words that no dialect owns."""

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum, IntEnum
from typing import Any, TypeAlias

from ollama_proxyd.core.cache_control import NO_WISH, CacheControl
from ollama_proxyd.core.frontends import Frontend
from ollama_proxyd.core.log_wish import LogWish
from ollama_proxyd.core.programs import NOBODY, Asker
from ollama_proxyd.core.spoken import Resume, Spoken
from ollama_proxyd.core.trace_context import NO_TRACE, Trace
from ollama_proxyd.core.upload import Upload
from ollama_proxyd.core.values import value

Json: TypeAlias = Any  # a decoded JSON value: dict, list, str, int, float, bool or None


class Operation(Enum):
    """What kind of answer is wanted."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANKING = "reranking"
    INFILL = "infill"  # code between two pieces of a file
    TRANSCRIPTION = "transcription"
    TRANSLATION = "translation"
    SPEECH = "speech"
    IMAGE = "image"
    __hash__ = object.__hash__  # each decision looks things up by it, and Enum's own is written in Python


WRITING = frozenset({Operation.CHAT, Operation.COMPLETION})
"""What is answered in words one after the other; all else takes the time that its input needs."""


class Api(Enum):
    """A wire format that clients and engines speak."""

    OPENAI = "openai"
    OLLAMA = "ollama"
    ANTHROPIC = "anthropic"
    RESPONSES = "responses"
    INFER = "infer"


class Priority(IntEnum):
    """How urgent a request is; higher goes first."""

    BEST_EFFORT = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3


class MediaType(Enum):
    """What the client says that it works with."""

    TEXT = "text"
    CODE = "code"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    REALTIME = "realtime"
    AUTO = "auto"


@value
class Hints:
    """What a client says about routing, None where nothing. `deadline_ms` is Unix time."""

    target: str | None = None
    latency_critical: bool = False
    power_efficient: bool = False
    max_latency_ms: float | None = None
    max_power_watts: float | None = None
    priority: Priority | None = None
    media_type: MediaType | None = None
    deadline_ms: int | None = None
    strict_limits: bool = False
    include_energy: bool = False
    defer: str | None = None
    defer_max_wait_seconds: float | None = None
    request_id: str = ""
    trace: Trace = NO_TRACE
    asker: Asker = NOBODY
    cache: CacheControl = NO_WISH
    log: LogWish | None = None
    frontend: Frontend | None = None
    turn: int = 0


@value
class Text:
    """A part of a message in words."""

    text: str


@value
class Image:
    """An image in base64; `media_type` such as image/png, None when the client did not say."""

    data: str
    media_type: str | None = None


@value
class Audio:
    """Sound in base64; `format` such as wav or mp3."""

    data: str
    format: str


Part: TypeAlias = Text | Image | Audio


@value
class ToolCall:
    """A function that the model wants called; `arguments` is JSON text of an object, as the model wrote it."""

    name: str
    arguments: str
    id: str | None = None


@value
class Message:
    """One turn of a conversation, `name` its speaker or tool; `parts` is None where the content was null or absent."""

    role: str
    parts: tuple[Part, ...] | None
    thinking: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


@value
class Tool:
    """A function that the model may call; `parameters` is a JSON Schema."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Json] | None = None
    strict: bool | None = None


class ToolMode(Enum):
    """Whether the model calls tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@value
class ToolChoice:
    """Whether the model calls tools; `name` is the only one that it may call, None for any."""

    mode: ToolMode
    name: str | None = None


@value
class JsonObject:
    """The answer must be some JSON object."""


@value
class JsonSchema:
    """The answer must fit this JSON Schema."""

    schema: Mapping[str, Json]
    name: str | None = None
    strict: bool | None = None


Format: TypeAlias = JsonObject | JsonSchema

Think: TypeAlias = bool | str
"""Whether to think before answering: False, True, or an effort (low, medium, high, max)."""


@value
class Options:
    """Settings of a generation under canonical names, and what could not be named.

    A key is present only if the client sent it. So 0, False and None (JSON null) differ from absent. The names are
    CANONICAL_OPTIONS; `stop` is always a list of strings or None. `unknown` holds every other field that the client
    sent, under its own name. `written` holds the client's own name of a known option where that is another.
    """

    known: Mapping[str, Json] = field(default_factory=dict)
    unknown: Mapping[str, Json] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, name: str) -> str:
        """What the client calls a known option, and where it wrote it."""
        return self.written.get(name, name)


@value
class Chat:
    """The content of a chat request; `tool_choice` is None where the client left it open."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    format: Format | None = None
    think: Think | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    options: Options = field(default_factory=Options)


@value
class Completion:
    """The content of a completion; `raw` means that no chat template is applied to the prompt."""

    prompt: str
    raw: bool
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: tuple[int, ...] | None = None
    images: tuple[Image, ...] = ()
    format: Format | None = None
    think: Think | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    options: Options = field(default_factory=Options)


@value
class Embedding:
    """Texts to embed; `single`: one string, no list; `normalized`: to unit length; `base64`: as packed float32."""

    inputs: tuple[str, ...]
    single: bool
    normalized: bool = True
    base64: bool = False
    options: Options = field(default_factory=Options)


Content: TypeAlias = Chat | Completion | Embedding


class LoadAction(Enum):
    """An Ollama request without a prompt only loads or unloads its model."""

    LOAD = "load"
    UNLOAD = "unload"


@value
class Request:
    """One request: what routing needs at once, the client's bytes, and the whole content on demand.

    `body` is the client's JSON, unchanged. `content()` parses it in full; it raises ProxyError(INVALID_REQUEST) and is
    called only where dialects differ. `endpoint` is the dialect's own name for the call, such as "chat" or "embed".
    """

    operation: Operation
    api: Api
    endpoint: str
    model: str
    stream: bool
    body: bytes
    content: Callable[[], Content]
    hints: Hints = Hints()
    prompt_tokens: int = 0
    """Estimated from the size of the body: about four bytes a token."""
    max_tokens: int | None = None  # the client's own limit on the answer
    wants_usage: bool = False  # OpenAI's stream_options.include_usage
    needs_vision: bool = False
    has_image_urls: bool = False
    """Whether an image in it is an https address, which the backend is to fetch."""
    may_fetch_here: bool = False
    """Whether engines on this machine may be handed such an address; a program of this machine could ask it itself."""
    needs_tools: bool = False
    load_action: LoadAction | None = None
    keeps_s: float | None = None
    """How long the client wants the model to stay in memory; infinity: for good. None where it does not say."""
    calls_come_whole: bool = False  # the client gets tool calls only at the end of the answer
    resume: Resume | None = None
    """How it goes on from a begun answer; None where the API has no such request."""
    spoken: Spoken | None = None
    """What the answer goes on from; None for a new one."""
    pause_s: float | None = None
    """The longest pause within its answer, where that is shorter than the configured one."""
    whole_pause_s: float | None = None
    """The same within an answer in one piece, once its body has begun."""
    is_amended: bool = False  # content has options that the client's API, and so body, has no words for
    upload: Upload | None = None  # in place of a body in JSON
    original: bytes | None = None
    """The client's own JSON where `body` is a chat made of it, for engines that speak the client's API."""
