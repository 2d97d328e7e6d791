"""How OpenAI-style engines differ in what they take: rows of a table, never branches."""

from collections.abc import Mapping
from dataclasses import field
from enum import Enum

from ollama_proxyd.core.values import value


class OptionPolicy(Enum):
    """What becomes of a field that a request to this engine has no name for."""

    DROP = "drop"
    """It does not change what the answer means: left out, and the client is told."""
    REFUSE = "refuse"
    """It changes the answer: the request is refused."""
    HANDLED_HERE = "handled here"
    """The engine need not know: it does so anyway, or the proxy does."""


class SchemaField(Enum):
    """Where a plain completion takes the JSON Schema of its answer."""

    RESPONSE_FORMAT = "response_format"
    JSON_SCHEMA = "json_schema"


@value
class Quirks:
    """What one engine takes beyond OpenAI's own fields.

    `options` maps canonical names to the engine's, or to a policy; `extras` does so for names of other dialects that
    are not canonical, and `embedding` for embeddings. `may_cut`: what is too long for it is perhaps not refused.
    `template_kwargs`: thinking is switched in chat_template_kwargs; `effort`: by reasoning_effort.
    `message_thinking`: earlier thinking may be sent back. `suffix`: plain completions take one. `completion_schema`:
    None when they take no schema. `raw_vectors`: the field that turns normalising off, None when there is none.
    `joins`: a whole answer is asked for as a stream, whose pieces make it up exactly.
    """

    options: Mapping[str, str | OptionPolicy] = field(default_factory=dict)
    extras: Mapping[str, str] = field(default_factory=dict)
    embedding: Mapping[str, OptionPolicy] = field(default_factory=dict)
    may_cut: bool = False
    template_kwargs: bool = True
    effort: bool = True
    message_thinking: bool = True
    suffix: bool = False
    completion_schema: SchemaField | None = None
    raw_vectors: Mapping[str, int] = field(default_factory=dict)
    joins: bool = False


LLAMACPP_OPTIONS: Mapping[str, str | OptionPolicy] = {
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "num_keep": "n_keep",
}
VLLM_OPTIONS: Mapping[str, str | OptionPolicy] = {
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
}

GENERIC = Quirks(options=LLAMACPP_OPTIONS, may_cut=True)
"""Engines without quirks of their own take llama.cpp's extra fields or leave them unread."""

VLLM = Quirks(options=VLLM_OPTIONS, effort=False)
"""What vLLM and the engines that copy its fields have in common."""
