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

UNTRANSLATABLE_FIELDS = frozenset(
    {
        "audio",
        "bad_words",
        "continue_final_message",
        "ebnf",
        "function_call",
        "functions",
        "grammar",
        "guided_choice",
        "guided_grammar",
        "guided_json",
        "guided_regex",
        "ignore_eos",
        "json_schema",
        "min_tokens",
        "regex",
        "structured_outputs",
        "web_search_options",
    }
)
"""Fields that shape the answer and that only OpenAI-style servers have."""


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
        if name in UNTRANSLATABLE_FIELDS and value not in (None, False, [], {}, 0):
            raise unsupported(name, "the chosen backend's API cannot express it")


def unsupported(name: str, why: str) -> ProxyError:
    """The refusal of one field."""
    return ProxyError(ErrorKind.UNSUPPORTED, f"'{name}' is not supported here: {why}", param=name)
