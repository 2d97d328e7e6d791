"""What Anthropic's clients send, typed."""

import msgspec

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.framing.limits import ModelName
from ollama_proxyd.dialects.framing.tools import NO_TOOLS


class MessageHead(msgspec.Struct):
    """A message as far as routing looks: its content stays the client's bytes."""

    content: msgspec.Raw = msgspec.Raw(b"null")


class Head(msgspec.Struct):
    """What a call tells routing."""

    model: ModelName | None = None
    max_tokens: int | None = None
    messages: list[MessageHead] | None = None
    stream: bool | None = None
    system: msgspec.Raw = msgspec.Raw(b"null")
    tools: msgspec.Raw = NO_TOOLS


class Source(msgspec.Struct):
    """Where a block's image or text is."""

    type: str
    data: str | None = None
    media_type: str | None = None
    url: str | None = None


class Block(msgspec.Struct):
    """A block of a content as it comes."""

    type: str
    text: str | None = None
    source: Source | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Json] | None = None
    tool_use_id: str | None = None
    content: "str | list[Block] | dict[str, Json] | None" = None
    is_error: bool | None = None
    thinking: str | None = None
    tool_name: str | None = None


class WireMessage(msgspec.Struct):
    """A message as it comes."""

    role: str
    content: str | list[Block]


class WireTool(msgspec.Struct):
    """A tool as it comes; one of another type than custom has its schema at Anthropic."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Json] | None = None
    strict: bool | None = None


class WireChoice(msgspec.Struct):
    """Whether tools are called."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct):
    """Whether to think before answering, and for how long."""

    type: str
    budget_tokens: int | None = None


class OutputFormat(msgspec.Struct):
    """What form the answer must have."""

    type: str
    schema: dict[str, Json] | None = None


class OutputConfig(msgspec.Struct):
    """How much effort an answer is worth, and its form."""

    effort: str | None = None
    format: OutputFormat | None = None


class Metadata(msgspec.Struct):
    """Who asks."""

    user_id: str | None = None


class Body(msgspec.Struct):
    """A call as it comes; every other field of it is a setting without a name elsewhere."""

    messages: list[WireMessage]
    model: str | None = None
    stream: bool | None = None
    system: str | list[Block] | None = None
    tools: list[WireTool] | None = None
    tool_choice: WireChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    metadata: Metadata | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
