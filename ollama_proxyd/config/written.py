"""The options in force as a person is told of them: value, default, where it was written, what a change needs."""

from collections.abc import Iterator, Mapping
from typing import Any

from ollama_proxyd.config.settings import Config
from ollama_proxyd.config.shape import NEEDS_RESTART, OPTIONS
from ollama_proxyd.core.administration import Written


def written(config: Config) -> Iterator[Written]:
    """Each option but those of backends, front ends and engines, which other places tell; secrets are no options."""
    for key, setting in OPTIONS.items():
        if "[]" not in key:
            origin = config.origins.get(key)
            yield Written(
                key,
                _at(config.values, key),
                setting.default,
                None if origin is None else str(origin),
                setting.option.sentence,
                key in NEEDS_RESTART,
            )


def _at(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for part in key.split("."):
        found = found[part]
    return found
