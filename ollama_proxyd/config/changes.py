"""What differs between two configurations, and what of it waits for a restart."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ollama_proxyd.config.build import build
from ollama_proxyd.config.settings import Config
from ollama_proxyd.config.shape import NEEDS_RESTART, OPTIONS
from ollama_proxyd.edges.plumbing.way import is_loopback

_OF_FRONTEND = re.compile(r"^frontends\.[^.]+(?=\.)")


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences as sentences: those that a reload puts in force, and those that wait for a restart."""

    applied: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.applied or self.waiting)


def compare(old: Config, new: Config) -> Changes:
    """What differs; secrets are said to have changed, never shown."""
    applied, waiting = [], []
    before, after = _settings(old), _settings(new)
    for key, value in before.items():
        if key not in after or after[key] == value:
            continue
        if key in NEEDS_RESTART:
            waiting.append(f"{_sentence(key, before, after)} after a restart; until then it stays as it was")
        else:
            applied.append(_sentence(key, before, after))
    if _must_keep_token(old, new):
        waiting.append(f"the token is no longer asked for after a restart; until then {old.server.host} stays open")
    before_after = [[each.name for each in config.frontends] for config in (old, new)]
    coming = (*_backends(old, new), *_come_and_gone("front end", *before_after))
    return Changes((*coming, *applied, *_secrets(old, new)), tuple(waiting))


def until_restart(running: Config, new: Config) -> Config:
    """The new configuration with the running values of what only a restart changes."""
    kept = build(_merged(running.values, new.values))
    token = running.server.token if _must_keep_token(running, new) else new.server.token
    server = replace(kept.server, token=token)
    kept = replace(kept, server=server, backends=new.backends, frontends=new.frontends)
    return replace(kept, path=new.path, origins=new.origins, warnings=new.warnings, left_out=new.left_out)


def _merged(running: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    merged = {}
    for key, value in new.items():
        place = f"{path}{key}"
        if isinstance(value, dict) and place not in OPTIONS:
            merged[key] = _merged(running[key], value, f"{place}.")
        else:
            merged[key] = running[key] if place in NEEDS_RESTART else value
    return merged


def _must_keep_token(running: Config, new: Config) -> bool:
    """Whether the new file asks for no token because it also listens elsewhere, which only a restart brings about."""
    return running.server.token is not None and new.server.token is None and not is_loopback(running.server.host)


def _sentence(key: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    old, new = (json.dumps(values[key], ensure_ascii=False) for values in (before, after))
    return f"{key} changes from {old} to {new}"


def _backends(old: Config, new: Config) -> Iterator[str]:
    before = [each.spec.id for each in old.backends]
    after = [each.spec.id for each in new.backends]
    yield from _come_and_gone("backend", before, after)
    kept = [each for each in before if each in after]
    if kept != [each for each in after if each in before]:
        yield "the backends change their order"


def _come_and_gone(what: str, before: list[str], after: list[str]) -> Iterator[str]:
    yield from (f"{what} {each} is removed" for each in before if each not in after)
    yield from (f"{what} {each} is added" for each in after if each not in before)


def _secrets(old: Config, new: Config) -> Iterator[str]:
    if old.server.token != new.server.token and not _must_keep_token(old, new):
        yield "the token that clients present changes"
    keys = {each.spec.id: each.api_key for each in old.backends}
    for each in new.backends:
        if each.spec.id in keys and keys[each.spec.id] != each.api_key:
            yield f"the API key of backend {each.spec.id} changes"
    tokens = {each.name: each.token for each in old.frontends}
    for frontend in new.frontends:
        if frontend.name in tokens and tokens[frontend.name] != frontend.token:
            yield f"the token of front end {frontend.name} changes"


def _settings(config: Config) -> dict[str, Any]:
    """Every setting by its key; those of a backend by its id, of a front end by its name."""
    backends = {each["id"]: each for each in config.values["backends"]}
    frontends = {each["name"]: each for each in config.values["frontends"]}
    return dict(_flat({**config.values, "backends": backends, "frontends": frontends}, ""))


def _flat(section: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        place = f"{path}.{key}" if path else key
        if isinstance(value, dict) and _OF_FRONTEND.sub("frontends[]", place) not in OPTIONS:
            yield from _flat(value, place)
        else:
            yield place, value
