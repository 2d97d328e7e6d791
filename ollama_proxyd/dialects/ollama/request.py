"""What Ollama's clients send, typed."""

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.limits import ModelName
from ollama_proxyd.dialects.framing.tools import NO_TOOLS, ToolBody

NO_MEDIA = msgspec.Raw(b"")


class NativeHead(msgspec.Struct):
    """The fields that routing needs of chats and completions."""

    model: ModelName | None = None
    stream: bool | None = None
    keep_alive: Json = None
    think: Json = None
    options: dict[str, Json] | None = None
    top_logprobs: int | None = None


class NativeMessageHead(msgspec.Struct):
    """A message as far as routing looks."""

    images: msgspec.Raw = NO_MEDIA


class NativeChatHead(NativeHead):
    """What a chat tells routing."""

    messages: list[NativeMessageHead] | None = None
    tools: msgspec.Raw = NO_TOOLS


class NativeFunction(msgspec.Struct):
    """The function of a tool call; its arguments stay the client's own bytes."""

    name: str | None = None
    arguments: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class NativeToolCall(msgspec.Struct):
    """A tool call as it comes."""

    function: NativeFunction
    id: str | None = None


class NativeMessage(msgspec.Struct):
    """A message as it comes."""

    role: str | None = None
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[NativeToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class NativeBody(NativeHead):
    """The other settings of chats and completions."""

    format: Json = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None


class ChatRequest(NativeBody):
    """A chat as it comes."""

    messages: list[NativeMessage] | None = None
    tools: list[ToolBody] | None = None


class NativeGenerateHead(NativeHead):
    """What a completion tells routing."""

    prompt: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[int] | None = None
    images: msgspec.Raw = NO_MEDIA
    raw: bool | None = None


class GenerateRequest(NativeBody):
    """A completion as it comes."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: tuple[int, ...] | None = None
    raw: bool | None = None
    images: list[str] | None = None


class EmbeddingsHead(msgspec.Struct):
    """The fields of both calls for embeddings."""

    model: ModelName | None = None
    keep_alive: Json = None
    options: dict[str, Json] | None = None


class EmbedRequest(EmbeddingsHead):
    """Texts to embed as they come."""

    input: Json = None
    truncate: bool | None = None
    dimensions: int | None = None


class EmbeddingsRequest(EmbeddingsHead):
    """The older call with one text."""

    prompt: str | None = None
