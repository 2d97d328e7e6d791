"""OpenAI's options, both ways: a client's into canonical names, canonical ones for an engine; and what is refused."""

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from ollama_proxyd.core.canonical_options import CANONICAL_OPTIONS
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json, Options
from ollama_proxyd.dialects.framing.jsonbody import convert_typed, invalid_request
from ollama_proxyd.dialects.openai.quirks import OptionPolicy, Quirks

INTERNAL_FIELDS = frozenset(
    {
        # llama-server: its own parser, grammar and cache state; some were ways to corrupt its memory.
        *("chat_format", "chat_parser", "generation_prompt", "preserved_tokens"),
        *("grammar_lazy", "grammar_triggers", "grammar_type"),
        *("id_slot", "slot_id", "n_discard"),
        *("reasoning_budget_start_tag", "reasoning_budget_end_tag", "reasoning_budget_end_tags"),
        # Gateways: where to send the request, and with whose key.
        *("api_base", "api_key", "base_url"),
        # vLLM and SGLang: other hosts to fetch a cache from.
        *("bootstrap_host", "bootstrap_port", "bootstrap_room", "kv_transfer_params"),
    }
)
"""Settings of a server's inside that no client has a reason to set, refused even where the dialect is the same."""

_UNSET: tuple[Json, ...] = (None, False, 0, "", [], {})
_SHAPING_FIELDS = (
    *("ebnf", "grammar", "guided_choice", "guided_grammar", "guided_regex", "regex", "structured_outputs"),
    *("allowed_token_ids", "bad_words", "ignore_eos", "min_tokens", "stop_token_ids"),
    *("audio", "continue_final_message", "lora", "prompt_logprobs"),
)

UNTRANSLATABLE_FIELDS: Mapping[str, tuple[Json, ...]] = {
    **dict.fromkeys(_SHAPING_FIELDS, _UNSET),
    "guided_json": (None,),  # {} asks for any JSON
    "json_schema": (None,),
    "modalities": (None, [], ["text"]),
}
"""Fields without which the answer would be wrong, and that only OpenAI-style servers have, with the values that ask for
nothing. Others that such servers alone know are left out, as Ollama's own /v1 does, and the client is told."""


def refuse_internal(names: Iterable[str]) -> None:
    """Raise INVALID_REQUEST when one of the names is a server's own."""
    for name in names:
        if name in INTERNAL_FIELDS:
            raise invalid_request(f"'{name}' is internal to the backend and cannot be set", name)


def refuse_untranslatable(fields: Mapping[str, Json]) -> None:
    """Raise UNSUPPORTED when a field asks for something that another dialect has no word for."""
    for name, value in fields.items():
        if name in UNTRANSLATABLE_FIELDS and value not in UNTRANSLATABLE_FIELDS[name]:
            raise unsupported(name, "the chosen backend's API cannot express it")


def unsupported(name: str, why: str) -> ProxyError:
    """The refusal of one field."""
    return ProxyError(ErrorKind.UNSUPPORTED, f"'{name}' is not supported here: {why}", param=name)


_TYPES = {**CANONICAL_OPTIONS, "stop": str | list[str]}
_KnownOptions = msgspec.defstruct("_KnownOptions", [(name, kind | None, None) for name, kind in _TYPES.items()])
"""The JSON type that every canonical option must have; values keep the client's own form."""

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "max_tokens": ("n_predict", "max_tokens", "max_completion_tokens"),
    "repeat_penalty": ("repetition_penalty", "repeat_penalty"),
    "num_keep": ("n_keep", "num_keep"),
}
"""Options that servers spell in several ways; a later spelling wins over an earlier one."""


PLACES: Mapping[str, tuple[str, ...]] = {
    "model": ("model",),
    **{name: SPELLINGS.get(name, (name,))[::-1] for name in CANONICAL_OPTIONS},
    "max_tokens": ("max_tokens", "max_completion_tokens", "n_predict"),
}
"""Where its calls have each option, the usual spelling first."""


def parse_options(fields: Mapping[str, Json], structural: Collection[str]) -> Options:
    """Every field that is not part of the request's structure, under its canonical name where it has one."""
    found: dict[str, Json] = {}
    written: dict[str, str] = {}
    spelled: set[str] = set()
    for name in CANONICAL_OPTIONS:
        for spelling in SPELLINGS.get(name, (name,)):
            if spelling in fields:
                spelled.add(spelling)
                if fields[spelling] is not None or name not in found:
                    found[name] = fields[spelling]
                    written[name] = spelling
    convert_typed(found, _KnownOptions)
    if isinstance(found.get("stop"), str):
        found["stop"] = [found["stop"]]
    unknown = {name: value for name, value in fields.items() if name not in spelled and name not in structural}
    return Options(found, unknown, {name: spelling for name, spelling in written.items() if spelling != name})


OptionTable = Mapping[str, str | OptionPolicy]

_SAME = ("max_tokens", "temperature", "top_p", "seed", "stop", "logit_bias", "user")
_PENALTIES = ("frequency_penalty", "presence_penalty")
_REFINEMENTS = ("top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n", "num_keep")
"""Refinements of sampling that not every engine has."""
_OF_THE_MODEL = ("num_ctx", "keep_alive", "truncate", "shift", "dimensions")
"""How the engine keeps its models; these engines decide that when they start."""

_GENERATION: OptionTable = {
    **{name: name for name in (*_SAME, *_PENALTIES)},
    **dict.fromkeys((*_REFINEMENTS, *_OF_THE_MODEL), OptionPolicy.DROP),
    "n": OptionPolicy.REFUSE,
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
