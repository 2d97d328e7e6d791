"""What clients of the Responses API send, typed."""

import msgspec

from ollama_proxyd.core.requests import Json


class Part(msgspec.Struct):
    """A part of a content as it comes."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    input_audio: Json = None


class Item(msgspec.Struct):
    """An item of the input as it comes; one with a role is a message."""

    type: str | None = None
    id: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[Part] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None


class WireTool(msgspec.Struct):
    """A tool as it comes; only functions are run by the client."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Json] | None = None
    strict: bool | None = None


class Choice(msgspec.Struct):
    """Which tool is called, or which may be."""

    type: str
    name: str | None = None
    mode: str | None = None
    tools: list[WireTool] | None = None


class TextFormat(msgspec.Struct):
    """What form the answer must have."""

    type: str
    name: str | None = None
    schema: dict[str, Json] | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct):
    """The form of the answer, and how long it is."""

    format: TextFormat | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct):
    """How much to think."""

    effort: str | None = None
    summary: str | None = None


class Body(msgspec.Struct):
    """A call as it comes; every other field of it is a setting of chats too, or none."""

    input: str | list[Item] | None = None
    instructions: str | None = None
    tools: list[WireTool] | None = None
    tool_choice: str | Choice | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    metadata: dict[str, Json] | None = None
    background: bool | None = None
    max_output_tokens: int | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    truncation: str | None = None
    user: str | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    max_tool_calls: int | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
