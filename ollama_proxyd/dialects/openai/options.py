"""OpenAI's options, both ways: a client's into canonical names, canonical ones for an engine; and what is refused."""

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import CANONICAL_OPTIONS, Json, Options
from ollama_proxyd.dialects.framing.jsonbody import convert_typed
from ollama_proxyd.dialects.openai.quirks import OptionPolicy, Quirks

INTERNAL_FIELDS = frozenset(
    {
        # llama-server: its own parser, grammar and cache state; some were ways to corrupt its memory.
        "chat_format",
        "chat_parser",
        "generation_prompt",
        "grammar_lazy",
        "grammar_triggers",
        "grammar_type",
        "id_slot",
        "n_discard",
        "preserved_tokens",
        "reasoning_budget_end_tag",
        "reasoning_budget_end_tags",
        "reasoning_budget_start_tag",
        "slot_id",
        # Gateways: where to send the request, and with whose key.
        "api_base",
        "api_key",
        "base_url",
        # vLLM and SGLang: other hosts to fetch a cache from.
        "bootstrap_host",
        "bootstrap_port",
        "bootstrap_room",
        "kv_transfer_params",
    }
)
"""Settings of a server's inside that no client has a reason to set, refused even where the dialect is the same."""

_UNSET: tuple[Json, ...] = (None, False, 0, "", [], {})

UNTRANSLATABLE_FIELDS: Mapping[str, tuple[Json, ...]] = {
    "allowed_token_ids": _UNSET,
    "audio": _UNSET,
    "bad_words": _UNSET,
    "continue_final_message": _UNSET,
    "dry_multiplier": _UNSET,
    "dynatemp_range": _UNSET,
    "ebnf": _UNSET,
    "function_call": (None, "none"),
    "functions": _UNSET,
    "grammar": _UNSET,
    "guided_choice": _UNSET,
    "guided_grammar": _UNSET,
    "guided_json": (None,),  # {} asks for any JSON
    "guided_regex": _UNSET,
    "ignore_eos": _UNSET,
    "json_schema": (None,),
    "lora": _UNSET,
    "min_tokens": _UNSET,
    "mirostat": _UNSET,
    "modalities": (None, [], ["text"]),
    "prompt_logprobs": _UNSET,
    "regex": _UNSET,
    "stop_token_ids": _UNSET,
    "structured_outputs": _UNSET,
    "use_beam_search": _UNSET,
    "verbosity": (None, "medium"),
    "web_search_options": (None,),  # {} asks for a search
    "xtc_probability": _UNSET,
}
"""Fields that shape the answer and that only OpenAI-style servers have, with the values that ask for nothing."""


def refuse_internal(names: Iterable[str]) -> None:
    """Raise INVALID_REQUEST when one of the names is a server's own."""
    for name in names:
        if name in INTERNAL_FIELDS:
            raise ProxyError(
                ErrorKind.INVALID_REQUEST, f"'{name}' is internal to the backend and cannot be set", param=name
            )


def refuse_untranslatable(fields: Mapping[str, Json]) -> None:
    """Raise UNSUPPORTED when a field asks for something that another dialect has no word for."""
    for name, value in fields.items():
        if name in UNTRANSLATABLE_FIELDS and value not in UNTRANSLATABLE_FIELDS[name]:
            raise unsupported(name, "the chosen backend's API cannot express it")


def unsupported(name: str, why: str) -> ProxyError:
    """The refusal of one field."""
    return ProxyError(ErrorKind.UNSUPPORTED, f"'{name}' is not supported here: {why}", param=name)


class KnownOptions(msgspec.Struct, kw_only=True):
    """Every canonical option and the JSON type that it must have; values keep the client's own form."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    num_keep: int | None = None
    num_ctx: int | None = None
    parallel_tool_calls: bool | None = None
    n: int | None = None
    logit_bias: dict[str, float] | list[Json] | None = None
    user: str | None = None
    keep_alive: float | str | None = None
    truncate: bool | None = None
    shift: bool | None = None
    dimensions: int | None = None
    best_of: int | None = None
    echo: bool | None = None


SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "max_tokens": ("n_predict", "max_tokens", "max_completion_tokens"),
    "repeat_penalty": ("repetition_penalty", "repeat_penalty"),
    "num_keep": ("n_keep", "num_keep"),
}
"""Options that servers spell in several ways; a later spelling wins over an earlier one."""


def parse_options(fields: Mapping[str, Json], structural: Collection[str]) -> Options:
    """Every field that is not part of the request's structure, under its canonical name where it has one."""
    found: dict[str, Json] = {}
    written: dict[str, str] = {}
    spelled: set[str] = set()
    for name in KnownOptions.__struct_fields__:
        for spelling in SPELLINGS.get(name, (name,)):
            if spelling in fields:
                spelled.add(spelling)
                if fields[spelling] is not None or name not in found:
                    found[name] = fields[spelling]
                    written[name] = spelling
    convert_typed(found, KnownOptions)
    if isinstance(found.get("stop"), str):
        found["stop"] = [found["stop"]]
    unknown = {name: value for name, value in fields.items() if name not in spelled and name not in structural}
    return Options(found, unknown, {name: spelling for name, spelling in written.items() if spelling != name})


OptionTable = Mapping[str, str | OptionPolicy]

_GENERATION: OptionTable = {
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

CHAT: OptionTable = {
    **_GENERATION,
    "parallel_tool_calls": "parallel_tool_calls",
    "best_of": OptionPolicy.REFUSE,
    "echo": OptionPolicy.REFUSE,
}

COMPLETION: OptionTable = {
    **_GENERATION,
    "parallel_tool_calls": OptionPolicy.DROP,
    "best_of": "best_of",
    "echo": "echo",
}

EMBEDDING: OptionTable = {
    **dict.fromkeys(CANONICAL_OPTIONS, OptionPolicy.DROP),
    "user": "user",
    "dimensions": OptionPolicy.HANDLED_HERE,
}

NO_CHANGE: Mapping[str, tuple[Json, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
}
"""Values that ask for what happens anyway; null always does."""

CHANGE_THE_ANSWER: Mapping[str, tuple[Json, ...]] = {"_debug_render_only": (False,), "options.mirostat": (0,)}
"""Fields without a canonical name that are refused rather than dropped, but for values that ask for nothing."""


def render_options(options: Options, table: OptionTable, quirks: Quirks) -> tuple[dict[str, Json], list[str]]:
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


def _placed(options: Options, table: OptionTable, quirks: Quirks) -> Iterator[tuple[str, Json, str | OptionPolicy]]:
    """Every option under the client's own name for it, with the engine's name or its policy."""
    for name, value in options.known.items():
        yield options.name_of(name), value, _place(name, value, table, quirks)
    for name, value in options.unknown.items():
        yield name, value, _place_of_unknown(name, value, table, quirks)


def _place(name: str, value: Json, table: OptionTable, quirks: Quirks) -> str | OptionPolicy:
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


def _place_of_unknown(name: str, value: Json, table: OptionTable, quirks: Quirks) -> str | OptionPolicy:
    if value is None or value in CHANGE_THE_ANSWER.get(name, ()):
        return OptionPolicy.HANDLED_HERE
    if table is EMBEDDING:
        return OptionPolicy.DROP
    return quirks.extras.get(name, OptionPolicy.REFUSE if name in CHANGE_THE_ANSWER else OptionPolicy.DROP)
