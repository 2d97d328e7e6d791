"""Fields of an OpenAI request that must not go on, and why."""

from collections.abc import Iterable, Mapping

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json

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
