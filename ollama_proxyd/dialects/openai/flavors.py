"""How OpenAI-style engines differ in what they take: rows of a table, never branches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Fate(Enum):
    """What becomes of a field that a request to this engine has no name for."""

    DROP = "drop"
    """It does not change what the answer means: left out, and the client is told."""
    REFUSE = "refuse"
    """It changes the answer: the request is refused."""
    OURS = "ours"
    """The engine need not know: it does so anyway, or what is asked for is done here."""


class SchemaField(Enum):
    """Where a plain completion takes the JSON Schema of its answer."""

    RESPONSE_FORMAT = "response_format"
    JSON_SCHEMA = "json_schema"


@dataclass(frozen=True, slots=True)
class Flavor:
    """What one engine takes beyond OpenAI's own fields.

    `options` maps canonical names to the engine's, or to their fate; `extras` does so for names of other dialects that
    are not canonical, and `embedding` for embeddings. `may_cut`: what is too long for it is perhaps not refused.
    `template_kwargs`: thinking is switched in chat_template_kwargs; `effort`: by reasoning_effort.
    `message_thinking`: earlier thinking may be sent back. `suffix`: plain completions take one. `completion_schema`:
    None when they take no schema. `raw_vectors`: the field that turns normalising off, None when there is none.
    """

    options: Mapping[str, str | Fate] = field(default_factory=dict)
    extras: Mapping[str, str] = field(default_factory=dict)
    embedding: Mapping[str, Fate] = field(default_factory=dict)
    may_cut: bool = False
    template_kwargs: bool = True
    effort: bool = True
    message_thinking: bool = True
    suffix: bool = False
    completion_schema: SchemaField | None = None
    raw_vectors: Mapping[str, int] = field(default_factory=dict)


_LLAMACPP: Mapping[str, str | Fate] = {
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "num_keep": "n_keep",
}
_VLLM: Mapping[str, str | Fate] = {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"}

_MIROSTAT = {f"options.{name}": name for name in ("mirostat", "mirostat_tau", "mirostat_eta")}

GENERIC = Flavor(options=_LLAMACPP, may_cut=True)
"""Engines that are not known take llama.cpp's extra fields or leave them unread."""

FLAVORS: Mapping[str, Flavor] = {
    "generic": GENERIC,
    "llamacpp": Flavor(
        options=_LLAMACPP,
        extras=_MIROSTAT,
        embedding={"truncate": Fate.OURS},
        effort=False,
        completion_schema=SchemaField.JSON_SCHEMA,
        raw_vectors={"embd_normalize": -1},
    ),
    "vllm": Flavor(options=_VLLM, effort=False, completion_schema=SchemaField.RESPONSE_FORMAT),
    "sglang": Flavor(options=_VLLM, effort=False),
    "mlx": Flavor(options={**_VLLM, "repeat_last_n": "repetition_context_size"}, effort=False),
    "ovms": Flavor(options=_VLLM, effort=False),
    "openai": Flavor(template_kwargs=False, message_thinking=False, suffix=True),
}


def flavor_named(name: str) -> Flavor:
    """The row of an engine, the generic one when it has none."""
    return FLAVORS.get(name, GENERIC)
