"""What OpenAI's clients send, typed."""

from typing import Literal

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.limits import ModelName
from ollama_proxyd.dialects.framing.tools import NO_TOOLS, ToolBody


class StreamOptions(msgspec.Struct):
    """OpenAI's stream_options, as far as they matter here."""

    include_usage: bool | None = None


class Head(msgspec.Struct):
    """What every call tells routing."""

    model: ModelName | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    keep_alive: Json = None
    """Ollama's, which its clients send here too."""


class NamedSchema(msgspec.Struct):
    """A response format's schema."""

    schema: dict[str, Json]
    name: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """What form the answer must have; llama-server also takes a schema beside the type."""

    type: str
    json_schema: NamedSchema | None = None
    schema: dict[str, Json] | None = None


class Reasoning(msgspec.Struct):
    """The reasoning object, as far as it matters here."""

    effort: str | None = None


class Url(msgspec.Struct):
    """Where a part's image is."""

    url: str


class Sound(msgspec.Struct):
    """A part's audio."""

    data: str
    format: str


class ContentPart(msgspec.Struct):
    """A part of a message as it comes."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Url | str | None = None
    input_audio: Sound | None = None


class RequestFunction(msgspec.Struct):
    """The function of a tool call; some clients send its arguments as an object."""

    name: str
    arguments: str | dict[str, Json] | None = None


class RequestCustom(msgspec.Struct):
    """The free text that a tool without a schema was called with."""

    name: str
    input: str = ""


class RequestCall(msgspec.Struct):
    """A tool call as it comes."""

    function: RequestFunction | None = None
    custom: RequestCustom | None = None
    id: str | None = None


class WireMessage(msgspec.Struct):
    """A message as it comes."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[RequestCall] | None = None
    function_call: RequestFunction | None = None
    audio: Json = None
    tool_call_id: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class MessageHead(msgspec.Struct):
    """A message as far as routing looks: its content stays the client's bytes."""

    role: str
    content: msgspec.Raw = msgspec.Raw(b"null")


class ChatHead(Head):
    """What a chat tells routing."""

    messages: list[MessageHead] | None = None
    tools: msgspec.Raw = NO_TOOLS


class NamedFunction(msgspec.Struct):
    """The name of a function."""

    name: str


class AllowedTool(msgspec.Struct):
    """A tool that may be called."""

    function: NamedFunction | None = None


class AllowedTools(msgspec.Struct):
    """The tools that may be called, and whether one must."""

    mode: str
    tools: list[AllowedTool]


class ToolChoiceBody(msgspec.Struct):
    """The one tool that must be called, or those that may be."""

    type: str
    function: NamedFunction | None = None
    name: str | None = None
    """As the Responses API writes it."""
    allowed_tools: AllowedTools | None = None


class ChatBody(msgspec.Struct):
    """The structure of a chat; everything else in it is a setting."""

    messages: list[WireMessage]
    tools: list[ToolBody] | None = None
    tool_choice: str | ToolChoiceBody | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    chat_template_kwargs: dict[str, Json] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class CompletionHead(Head, kw_only=True):
    """What a completion tells routing: a prompt is text, tokens, or a list of either."""

    prompt: str | list[msgspec.Raw]


class CompletionBody(msgspec.Struct):
    """The structure of a completion; everything else in it is a setting."""

    prompt: str | list[Json]
    suffix: str | None = None
    logprobs: int | bool | None = None
    response_format: ResponseFormat | None = None


class EmbeddingHead(Head):
    """What an embedding tells routing: the input is text, tokens, an object of llama.cpp's, or a list of these."""

    input: str | list[msgspec.Raw] | dict[str, msgspec.Raw] | None = None
    encoding_format: Literal["float", "base64"] | None = None


class EmbeddingBody(msgspec.Struct):
    """The structure of an embedding; everything else in it is a setting."""

    input: str | list[Json] | dict[str, Json]
    encoding_format: str | None = None
