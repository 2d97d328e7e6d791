"""What becomes of each canonical option in a request to an OpenAI-style engine: tables, and their application."""

from collections.abc import Iterator, Mapping

from ollama_proxyd.core.requests import CANONICAL_OPTIONS, Json, Options
from ollama_proxyd.dialects.openai.flavors import Fate, Flavor
from ollama_proxyd.dialects.openai.refusals import unsupported

Table = Mapping[str, str | Fate]

_GENERATION: Table = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "n": Fate.REFUSE,
    "logit_bias": "logit_bias",
    "user": "user",
    # Refinements of sampling that not every engine has.
    "top_k": Fate.DROP,
    "min_p": Fate.DROP,
    "typical_p": Fate.DROP,
    "repeat_penalty": Fate.DROP,
    "repeat_last_n": Fate.DROP,
    "num_keep": Fate.DROP,
    # How the engine keeps its models; these engines decide that when they start.
    "num_ctx": Fate.DROP,
    "keep_alive": Fate.DROP,
    "truncate": Fate.DROP,
    "shift": Fate.DROP,
    "dimensions": Fate.DROP,
}

CHAT: Table = {
    **_GENERATION,
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "best_of": Fate.REFUSE,
    "echo": Fate.REFUSE,
}

COMPLETION: Table = {
    **_GENERATION,
    "tool_choice": Fate.REFUSE,
    "parallel_tool_calls": Fate.DROP,
    "best_of": "best_of",
    "echo": "echo",
}

EMBEDDING: Table = {
    **dict.fromkeys(CANONICAL_OPTIONS, Fate.DROP),
    "user": "user",
    "dimensions": Fate.OURS,
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


def render_options(options: Options, table: Table, flavor: Flavor) -> tuple[dict[str, Json], list[str]]:
    """The engine's fields, and the client's that were dropped; raises UNSUPPORTED for what changes the answer."""
    fields: dict[str, Json] = {}
    dropped: list[str] = []
    for name, value, place in _placed(options, table, flavor):
        if isinstance(place, str):
            fields[place] = value
        elif place is Fate.DROP:
            dropped.append(name)
        elif place is Fate.REFUSE:
            raise unsupported(name, "the chosen backend's API cannot express it")
    limit = fields.get("max_tokens")
    if isinstance(limit, int) and limit < 0:
        del fields["max_tokens"]  # no limit, which is what leaving it out says everywhere
    return fields, dropped


def _placed(options: Options, table: Table, flavor: Flavor) -> Iterator[tuple[str, Json, str | Fate]]:
    """Every option under the client's own name for it, with the engine's name or its fate."""
    for name, value in options.known.items():
        yield options.name_of(name), value, _place(name, value, table, flavor)
    for name, value in options.unknown.items():
        yield name, value, _place_of_unknown(name, value, table, flavor)


def _place(name: str, value: Json, table: Table, flavor: Flavor) -> str | Fate:
    place = table[name]
    if place is Fate.DROP:
        place = (flavor.embedding if table is EMBEDDING else flavor.options).get(name, place)
    if isinstance(place, str):
        return place
    if value is None or value in NO_CHANGE.get(name, ()):
        return Fate.OURS
    if name == "truncate" and value is False and place is Fate.DROP:
        return Fate.REFUSE if flavor.may_cut else Fate.OURS
    return place


def _place_of_unknown(name: str, value: Json, table: Table, flavor: Flavor) -> str | Fate:
    if value is None or value in CHANGE_THE_ANSWER.get(name, ()):
        return Fate.OURS
    if table is EMBEDDING:
        return Fate.DROP
    return flavor.extras.get(name, Fate.REFUSE if name in CHANGE_THE_ANSWER else Fate.DROP)
