"""OpenAI's names of the generation settings, read into canonical names with their types checked."""

from collections.abc import Collection, Mapping

import msgspec

from ollama_proxyd.core.requests import Json, Options
from ollama_proxyd.dialects.framing.jsonbody import convert_typed


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
    tool_choice: str | dict[str, Json] | None = None
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
