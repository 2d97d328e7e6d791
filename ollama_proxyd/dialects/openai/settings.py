"""What becomes of each canonical option in a request to an OpenAI-style engine: tables, and their application."""

from collections.abc import Iterator, Mapping

from ollama_proxyd.core.requests import CANONICAL_OPTIONS, Json, Options
from ollama_proxyd.dialects.openai.quirks import OptionPolicy, Quirks
from ollama_proxyd.dialects.openai.refusals import unsupported

Table = Mapping[str, str | OptionPolicy]

_GENERATION: Table = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "n": OptionPolicy.REFUSE,
    "logit_bias": "logit_bias",
    "user": "user",
    # Refinements of sampling that not every engine has.
    "top_k": OptionPolicy.DROP,
    "min_p": OptionPolicy.DROP,
    "typical_p": OptionPolicy.DROP,
    "repeat_penalty": OptionPolicy.DROP,
    "repeat_last_n": OptionPolicy.DROP,
    "num_keep": OptionPolicy.DROP,
    # How the engine keeps its models; these engines decide that when they start.
    "num_ctx": OptionPolicy.DROP,
    "keep_alive": OptionPolicy.DROP,
    "truncate": OptionPolicy.DROP,
    "shift": OptionPolicy.DROP,
    "dimensions": OptionPolicy.DROP,
}

CHAT: Table = {
    **_GENERATION,
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "best_of": OptionPolicy.REFUSE,
    "echo": OptionPolicy.REFUSE,
}

COMPLETION: Table = {
    **_GENERATION,
    "tool_choice": OptionPolicy.REFUSE,
    "parallel_tool_calls": OptionPolicy.DROP,
    "best_of": "best_of",
    "echo": "echo",
}

EMBEDDING: Table = {
    **dict.fromkeys(CANONICAL_OPTIONS, OptionPolicy.DROP),
    "user": "user",
    "dimensions": OptionPolicy.HANDLED_HERE,
}

NO_CHANGE: Mapping[str, tuple[Json, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "tool_choice": ("auto", "none"),
}
"""Values that ask for what happens anyway; null always does."""

CHANGE_THE_ANSWER: Mapping[str, tuple[Json, ...]] = {"_debug_render_only": (False,), "options.mirostat": (0,)}
"""Fields without a canonical name that are refused rather than dropped, but for values that ask for nothing."""


def render_options(options: Options, table: Table, quirks: Quirks) -> tuple[dict[str, Json], list[str]]:
    """The engine's fields, and the client's that were dropped; raises UNSUPPORTED for what changes the answer."""
    fields: dict[str, Json] = {}
    dropped: list[str] = []
    for name, value, place in _placed(options, table, quirks):
        if isinstance(place, str):
            fields[place] = value
        elif place is OptionPolicy.DROP:
            dropped.append(name)
        elif place is OptionPolicy.REFUSE:
            raise unsupported(name, "the chosen backend's API cannot express it")
    limit = fields.get("max_tokens")
    if isinstance(limit, int) and limit < 0:
        del fields["max_tokens"]  # no limit, which is what leaving it out says everywhere
    return fields, dropped


def _placed(options: Options, table: Table, quirks: Quirks) -> Iterator[tuple[str, Json, str | OptionPolicy]]:
    """Every option under the client's own name for it, with the engine's name or its policy."""
    for name, value in options.known.items():
        yield options.name_of(name), value, _place(name, value, table, quirks)
    for name, value in options.unknown.items():
        yield name, value, _place_of_unknown(name, value, table, quirks)


def _place(name: str, value: Json, table: Table, quirks: Quirks) -> str | OptionPolicy:
    place = table[name]
    if place is OptionPolicy.DROP:
        place = (quirks.embedding if table is EMBEDDING else quirks.options).get(name, place)
    if isinstance(place, str):
        return place
    if value is None or value in NO_CHANGE.get(name, ()):
        return OptionPolicy.HANDLED_HERE
    if name == "truncate" and value is False and place is OptionPolicy.DROP:
        return OptionPolicy.REFUSE if quirks.may_cut else OptionPolicy.HANDLED_HERE
    return place


def _place_of_unknown(name: str, value: Json, table: Table, quirks: Quirks) -> str | OptionPolicy:
    if value is None or value in CHANGE_THE_ANSWER.get(name, ()):
        return OptionPolicy.HANDLED_HERE
    if table is EMBEDDING:
        return OptionPolicy.DROP
    return quirks.extras.get(name, OptionPolicy.REFUSE if name in CHANGE_THE_ANSWER else OptionPolicy.DROP)
