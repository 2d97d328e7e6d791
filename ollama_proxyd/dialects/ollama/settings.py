"""The settings that Ollama's requests share, checked as Ollama checks them."""

import math
import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Format, Json, JsonObject, JsonSchema, Options, Think
from ollama_proxyd.dialects.ollama.bodies import go_quote, refusal

OPTION_TYPE: Final = "option_type"
"""The code of an option with a wrong type, which Ollama answers with a 500 of its own."""

INTEGER, NUMBER, BOOLEAN, STRINGS = "integer", "float32", "boolean", "array"

_ANSWER_OPTIONS: Mapping[str, str] = {
    "num_keep": INTEGER,
    "seed": INTEGER,
    "num_predict": INTEGER,
    "top_k": INTEGER,
    "top_p": NUMBER,
    "min_p": NUMBER,
    "typical_p": NUMBER,
    "repeat_last_n": INTEGER,
    "temperature": NUMBER,
    "repeat_penalty": NUMBER,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "stop": STRINGS,
    "num_ctx": INTEGER,
}
_ENGINE_OPTIONS: Mapping[str, str] = {
    "num_batch": INTEGER,
    "num_gpu": INTEGER,
    "main_gpu": INTEGER,
    "use_mmap": BOOLEAN,
    "num_thread": INTEGER,
    "draft_num_predict": INTEGER,
}
OPTION_TYPES: Mapping[str, str] = {**_ANSWER_OPTIONS, **_ENGINE_OPTIONS}
CANONICAL_BY_OPTION: Mapping[str, str] = {
    name: "max_tokens" if name == "num_predict" else name for name in _ANSWER_OPTIONS
}
"""Ollama's option names, and what the core calls them."""

EFFORTS = frozenset({"high", "medium", "low", "max"})

_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")
_MAX_S = (2**63 - 1) / 1e9


def check_options(options: Mapping[str, Json] | None) -> None:
    """Refuse an option of the wrong type; unknown names and nulls pass, as they do in Ollama."""
    for name, value in (options or {}).items():
        wanted = OPTION_TYPES.get(name)
        if wanted is None or value is None or _fits(value, wanted):
            continue
        kind = f"{wanted} of strings" if wanted == STRINGS and isinstance(value, list) else wanted
        raise ProxyError(
            ErrorKind.INVALID_REQUEST,
            f"option {go_quote(name)} must be of type {kind}",
            param=f"options.{name}",
            code=OPTION_TYPE,
        )


def read_options(
    options: Mapping[str, Json] | None,
    fields: Mapping[str, msgspec.Raw],
    canonical: Collection[str],
    read: Collection[str],
) -> Options:
    """Canonical options of checked input.

    Of the top-level `fields`, those in `canonical` are options too, and those not in `read` are unknown.
    An unknown option is listed as `options.<name>`, so that it is never taken for a top-level field.
    A negative num_predict asks for no limit, which is the meaning of its absence.
    """
    known = {name: msgspec.json.decode(fields[name]) for name in fields if name in canonical}
    unknown = {name: msgspec.json.decode(fields[name]) for name in fields if name not in read}
    written = {}
    for name, value in (options or {}).items():
        if name not in CANONICAL_BY_OPTION:
            unknown[f"options.{name}"] = value
        elif name != "num_predict" or value is None or value >= 0:
            whole = OPTION_TYPES[name] == INTEGER and value is not None
            known[CANONICAL_BY_OPTION[name]] = int(value) if whole else value
            written[CANONICAL_BY_OPTION[name]] = f"options.{name}"
    return Options(known, unknown, written)


def answer_limit(options: Mapping[str, Json] | None) -> int | None:
    """The client's own limit on the answer in tokens; None for none, which Ollama also writes as -1."""
    limit = (options or {}).get("num_predict")
    return int(limit) if limit is not None and limit >= 0 else None


def keep_alive_s(value: Json) -> float | None:
    """How long the model shall stay, in seconds: infinity for any negative value, None when unset."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value <= _MAX_S else math.inf
    if isinstance(value, str):
        return _duration_s(value)
    raise refusal(f'keep_alive must be seconds or a duration such as "5m", not {_words(value)}', "keep_alive")


def check_think(value: Json) -> Think | None:
    """True, False or an effort; None when unset."""
    if value is None or isinstance(value, bool) or (isinstance(value, str) and value in EFFORTS):
        return value
    raise refusal(
        f'invalid think value: {_words(value)} (must be "high", "medium", "low", "max", true, or false)', "think"
    )


def check_top_logprobs(value: int | None) -> None:
    """Refuse what is not between 0 and 20."""
    if value is not None and not 0 <= value <= 20:
        raise refusal("top_logprobs must be between 0 and 20", "top_logprobs")


def read_format(value: Json) -> Format | None:
    """`"json"`, a JSON Schema, or nothing."""
    if value is None or value == "":
        return None
    if value == "json":
        return JsonObject()
    if isinstance(value, dict):
        return JsonSchema(schema=value)
    raise refusal(f'invalid format: {_words(value)}; expected "json" or a valid JSON Schema object', "format")


def _fits(value: Json, wanted: str) -> bool:
    if wanted == BOOLEAN:
        return isinstance(value, bool)
    if wanted == STRINGS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _duration_s(text: str) -> float:
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return 0.0
    total_s, at = 0.0, 0
    while part := _DURATION_PART.match(rest, at):
        number, unit = part.groups()
        if not unit:
            raise refusal(f"time: missing unit in duration {go_quote(text)}", "keep_alive")
        if unit not in _UNIT_S:
            raise refusal(f"time: unknown unit {go_quote(unit)} in duration {go_quote(text)}", "keep_alive")
        total_s += float(number) * _UNIT_S[unit]
        at = part.end()
    if at == 0 or at < len(rest) or total_s > _MAX_S:
        raise refusal(f"time: invalid duration {go_quote(text)}", "keep_alive")
    return math.inf if negative else total_s


def _words(value: Json) -> str:
    return msgspec.json.encode(value).decode()
