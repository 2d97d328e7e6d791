"""Ollama's options, both ways: checked as Ollama checks them, and placed where it looks for them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import msgspec

from ollama_proxyd.core.canonical_options import CANONICAL_OPTIONS
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Format, Json, JsonObject, JsonSchema, Options, Think
from ollama_proxyd.dialects.framing.jsonbody import decode_value, invalid_request, quoted

OPTION_TYPE: Final = "option_type"
"""The code of an option with a wrong type, which Ollama answers with a 500 of its own."""

_ANSWER_OPTIONS = (
    *("num_keep", "seed", "num_predict", "stop", "num_ctx"),
    *("top_k", "top_p", "min_p", "typical_p", "temperature"),
    *("repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty"),
)
CANONICAL_BY_OPTION: Mapping[str, str] = {
    name: "max_tokens" if name == "num_predict" else name for name in _ANSWER_OPTIONS
}
"""Ollama's option names, and what the core calls them."""

OPTION_TYPES: Mapping[str, Any] = {
    **{name: CANONICAL_OPTIONS[canonical] for name, canonical in CANONICAL_BY_OPTION.items()},
    **dict.fromkeys(("num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict"), int),
    "use_mmap": bool,
}
_TYPE_WORDS: Mapping[Any, str] = {int: "integer", float: "float32", bool: "boolean", list[str]: "array"}
"""What Ollama calls the types."""

EFFORTS = frozenset({"high", "medium", "low", "max"})


def check_options(options: Mapping[str, Json] | None) -> None:
    """Refuse an option of the wrong type; unknown names and nulls pass, as they do in Ollama."""
    for name, value in (options or {}).items():
        wanted = OPTION_TYPES.get(name)
        if wanted is None or value is None or _fits(value, wanted):
            continue
        kind = _TYPE_WORDS[wanted] + (" of strings" if isinstance(value, list) and wanted == list[str] else "")
        raise ProxyError(
            ErrorKind.INVALID_REQUEST,
            f"option {quoted(name)} must be of type {kind}",
            param=f"options.{name}",
            code=OPTION_TYPE,
        )


def read_options(
    options: Mapping[str, Json] | None,
    fields: Mapping[str, msgspec.Raw],
    read: Collection[str],
) -> Options:
    """Canonical options of checked input.

    Of the top-level `fields`, those in `read` are known; some of them are options too.
    An unknown option is listed as `options.<name>`, so that it is never taken for a top-level field.
    A negative num_predict asks for no limit, which is the meaning of its absence.
    """
    known = {name: decode_value(fields[name], name) for name in fields if name in TOP_LEVEL and name in read}
    unknown = {name: decode_value(fields[name], name) for name in fields if name not in read}
    written = {}
    for name, value in (options or {}).items():
        if name not in CANONICAL_BY_OPTION:
            unknown[f"options.{name}"] = value
        elif name != "num_predict" or value is None or value >= 0:
            whole = OPTION_TYPES[name] is int and value is not None
            known[CANONICAL_BY_OPTION[name]] = int(value) if whole else value
            written[CANONICAL_BY_OPTION[name]] = f"options.{name}"
    return Options(known, unknown, written)


def answer_limit(options: Mapping[str, Json] | None) -> int | None:
    """The client's own limit on the answer in tokens; None for none, which Ollama also writes as -1."""
    limit = (options or {}).get("num_predict")
    return int(limit) if limit is not None and limit >= 0 else None


def check_think(value: Json) -> Think | None:
    """True, False or an effort; None when unset."""
    if value is None or isinstance(value, bool) or (isinstance(value, str) and value in EFFORTS):
        return value
    raise invalid_request(
        f'invalid think value: {_words(value)} (must be "high", "medium", "low", "max", true, or false)', "think"
    )


def read_format(value: Json) -> Format | None:
    """`"json"`, a JSON Schema, or nothing."""
    if value is None or value == "":
        return None
    if value == "json":
        return JsonObject()
    if isinstance(value, dict):
        return JsonSchema(schema=value)
    raise invalid_request(f'invalid format: {_words(value)}; expected "json" or a valid JSON Schema object', "format")


def _fits(value: Json, wanted: Any) -> bool:
    if wanted is bool:
        return isinstance(value, bool)
    if wanted == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(value: Json) -> str:
    return msgspec.json.encode(value).decode()


OPTION_BY_CANONICAL: Mapping[str, str] = {canonical: name for name, canonical in CANONICAL_BY_OPTION.items()}
"""Sent under `options`, by Ollama's name."""

TOP_LEVEL = frozenset({"keep_alive", "truncate", "shift", "dimensions"})
"""Sent beside the model, where the call has such a field; listed as ignored where it has none."""

PLACES: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("model", *sorted(TOP_LEVEL))},
    **{canonical: (f"options.{name}",) for canonical, name in OPTION_BY_CANONICAL.items()},
}
"""Where its calls have each option."""

LEFT_OUT: Mapping[str, tuple[Json, ...]] = {
    "n": (None, 1),
    "best_of": (None, 0, 1),
    "logit_bias": (None, {}, []),
}
"""What Ollama cannot do and its own /v1 leaves out; the client is told, but for values that ask for nothing (these)."""

DONE_HERE = frozenset({"echo", "parallel_tool_calls"})
"""What the decoder of the engine's answer does by itself."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Options in the places where Ollama looks for them, and the names of those it has no place for."""

    fields: Mapping[str, Json]
    options: Mapping[str, Json]
    ignored: tuple[str, ...]


def place(given: Options, top_level: Collection[str]) -> Placed:
    """Sort the options; `top_level` are those that the call takes beside the model.

    A null asks for the default, so it is not sent.
    """
    fields: dict[str, Json] = {}
    options: dict[str, Json] = {}
    ignored: list[str] = []
    for name, value in given.known.items():
        if value is None or name in DONE_HERE or value in LEFT_OUT.get(name, ()):
            continue
        if name in OPTION_BY_CANONICAL:
            options[OPTION_BY_CANONICAL[name]] = value
        elif name in top_level:
            fields[name] = value
        else:
            ignored.append(given.name_of(name))
    return Placed(fields, options, (*ignored, *given.unknown))


def refuse_option(name: str, value: Json) -> NoReturn:
    """The field changes the answer, and Ollama's API cannot express it."""
    shown = msgspec.json.encode(value).decode()[:80]
    raise ProxyError(
        ErrorKind.UNSUPPORTED,
        f"'{name}' is {shown}, which changes the answer and which the chosen backend (Ollama's API) cannot express; "
        "leave it out or name another backend",
        param=name,
    )


KEYS = frozenset(
    {
        *("model", "name", "stream", "options", "keep_alive", "format", "think", "truncate", "shift"),
        *("messages", "tools", "logprobs", "top_logprobs"),
        *("prompt", "suffix", "system", "template", "context", "raw", "images"),
        *("input", "dimensions", "verbose"),
    }
)


def refuse_lookalikes(names: Iterable[str]) -> None:
    """Raise INVALID_REQUEST when a name is one of the keys but for the case of its letters.

    Here it would be an unknown field, and there it would take the place of the right one: of the model, say.
    """
    for name in names:
        if name not in KEYS and (meant := name.casefold()) in KEYS:
            message = f"the key {quoted(name)} would be read as {quoted(meant)} by Ollama; write it so, and once"
            raise invalid_request(message, name)
