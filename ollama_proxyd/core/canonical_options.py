"""The settings of a generation by names that no dialect owns."""

from collections.abc import Mapping
from typing import Any

from ollama_proxyd.core.requests import Json

CANONICAL_OPTIONS: Mapping[str, Any] = {
    "max_tokens": int,
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "typical_p": float,
    "seed": int,
    "stop": list[str],
    "frequency_penalty": float,
    "presence_penalty": float,
    "repeat_penalty": float,
    "repeat_last_n": int,
    "num_keep": int,
    "num_ctx": int,
    "parallel_tool_calls": bool,
    "n": int,
    "logit_bias": dict[str, float] | list[Json],
    "user": str,
    "keep_alive": float | str,
    "truncate": bool,
    "shift": bool,
    "dimensions": int,
    "best_of": int,
    "echo": bool,
}
"""Every name that Options.known may hold, and its JSON type; each dialect's table says what becomes of each."""
