"""When two model names mean the same model: Ollama's defaults of registry and tag, any case, and configured aliases."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from re import compile as pattern
from types import MappingProxyType
from typing import TypeAlias

Aliases: TypeAlias = Mapping[str, tuple[str, ...]]
"""Names that clients use, each with the names that backends have for the same model."""

_DEFAULTS = ("registry.ollama.ai/", "library/")
"""Where Ollama looks for a name that does not say; other registries, such as hf.co, are part of the name."""

_LOCAL = ":local"
"""How Ollama's clients say that they do not mean a model of its cloud."""


@lru_cache(maxsize=1024)
def canonical(name: str) -> str:
    """The name in lower case, without Ollama's default registry and with its default tag `latest`."""
    lowered = name.strip().lower().rpartition("://")[2]
    for default in _DEFAULTS:
        lowered = lowered.removeprefix(default)
    last = lowered.rsplit("/", 1)[-1]
    return lowered if ":" in last else lowered + ":latest"


def spellings(asked: str) -> tuple[str, ...]:
    """The canonical names that a model which is asked for may have, the likeliest first."""
    wanted = canonical(asked)
    return (wanted, canonical(wanted.removesuffix(_LOCAL))) if wanted.endswith(_LOCAL) else (wanted,)


def resolve(asked: str, held: Iterable[str]) -> str | None:
    """The backend's own name for the model that was asked for, an exact match first, or None."""
    names = tuple(held)
    if asked in names:
        return asked
    wanted = canonical(asked)
    spellings = (wanted, wanted.removesuffix(":latest"))
    for spelling in spellings:  # most names are in lower case, and this finds one among many without a look at each
        if spelling in names:
            return spelling
    found = next((name for name in names if name.lower() in spellings), None)
    if found is None and wanted.endswith(_LOCAL):
        return resolve(wanted.removesuffix(_LOCAL), names)
    return found


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name, with or without the default tag, matches one of the globs."""
    full = canonical(name)
    short = full.removesuffix(":latest")
    return any(fnmatchcase(full, glob.lower()) or fnmatchcase(short, glob.lower()) for glob in patterns)


@lru_cache(maxsize=1024)
def is_mixture(*names: str | None) -> bool:
    """Whether a model is a mixture of experts as far as its names tell: its size says little of its speed."""
    return any(name is not None and _MIXTURE.search(name.lower()) for name in names)


_MIXTURE = pattern(r"moe|mixtral|[0-9]x[0-9]+(\.[0-9]+)?b|[0-9]b-a[0-9]|gpt-?oss|deepseek-?(v[23]|r1:671b|2)|llama-?4")


class Synonyms:
    """The configured aliases, found by any of their names; of two that share a name the first counts."""

    def __init__(self, aliases: Aliases = MappingProxyType({})) -> None:
        self._groups: dict[str, tuple[str, ...]] = {}
        for alias, names in aliases.items():
            group = (alias, *names)
            for name in group:
                self._groups.setdefault(canonical(name), group)

    def of(self, name: str) -> tuple[str, ...]:
        """Every other name of the model, its alias first."""
        group = self._groups.get(canonical(name), ()) if self._groups else ()
        return tuple(each for each in group if each != name)

    def alias_of(self, name: str) -> str:
        """The name that clients see."""
        return next(iter(self._groups.get(canonical(name), ())), name) if self._groups else name
