"""Holds a document against the shape of the file and collects everything that does not fit."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ollama_proxyd.config.document import Node, Scalar
from ollama_proxyd.config.problems import Origin, Problem
from ollama_proxyd.config.retired import GONE, NO_EFFECT, RENAMED, RETIRED_VALUES
from ollama_proxyd.config.shape import FILE, KEYS, Section, default_of, is_required
from ollama_proxyd.core import text
from ollama_proxyd.core.options import Setting, Takes


@dataclass(slots=True)
class Checked:
    """What came of a document: a value for each option, and what does not fit.

    `broken` tells that a value was wrong, so that the values are not what the writer meant; an unknown key
    alone does not make it so. `origins` says where each key was written.
    """

    root: Origin
    values: dict[str, Any] = field(default_factory=dict)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)
    broken: bool = False

    def origin(self, key: str) -> Origin:
        """Where a key was written, or the section that should hold it, or the file."""
        while key:
            if key in self.origins:
                return self.origins[key]
            key = key.rpartition(".")[0]
        return self.root

    def read(self, node: Node, entry: Section | Setting, path: str) -> Any:
        """The plain value of a node that fits, else None with the reason noted."""
        self.origins[path] = node.origin
        if isinstance(entry, Setting) and entry.takes.is_map:
            return self._map(node, entry, path)
        return self._list(node, entry, path) if entry.is_list else self._one(node, entry, path)

    def _map(self, node: Node, entry: Setting, path: str) -> Any:
        if node.value is not None and not isinstance(node.value, dict):
            return self._misplaced(node, "a section with keys of its own", path)
        read = self._list if entry.is_list else self._one
        return {key: read(each, entry, f"{path}.{key}") for key, each in (node.value or {}).items()}

    def _list(self, node: Node, entry: Section | Setting, path: str) -> Any:
        self.origins[path] = node.origin
        if node.value is not None and not isinstance(node.value, list):
            return self._misplaced(node, "a list", path)
        return [self._one(item, entry, f"{path}[{index}]") for index, item in enumerate(node.value or [])]

    def _one(self, node: Node, entry: Section | Setting, path: str) -> Any:
        self.origins[path] = node.origin
        if isinstance(entry, Section):
            return self._section(node, entry, path)
        if entry.takes.accepts(node.value):
            return entry.takes.plain(node.value)
        return self._misplaced(node, str(entry.takes), path, _advice(entry.takes, node.value))

    def _section(self, node: Node, section: Section, path: str) -> Any:
        if node.value is not None and not isinstance(node.value, dict):
            return self._misplaced(node, "a section with keys of its own", path)
        entries = node.value or {}
        values = {key: default_of(each) for key, each in section.entries.items()}
        for key, child in entries.items():
            place = f"{path}.{key}" if path else key
            if key in section.entries:
                values[key] = self.read(child, section.entries[key], place)
            else:
                self._unknown(key, child, place, list(section.entries))
        for key, each in section.entries.items():
            if key not in entries and isinstance(each, Setting) and is_required(each):
                self._wrong(node, f"{path}.{key}", f"this key is needed: {each.takes}")
        return values

    def _misplaced(self, node: Node, expected: str, path: str, advice: str = "") -> None:
        if isinstance(node.value, dict | list):
            written = "a section" if isinstance(node.value, dict) else "a list"
            self._wrong(node, path, f"{written} stands where {expected} belongs")
        elif said := RETIRED_VALUES.get((_pattern(path), str(node.value))):
            self._wrong(node, path, f"{_show(node.value)} is not available; {said}")
        else:
            shown = _show(node.value) if path else "this text"  # at the root it may be any file's, and secret
            self._wrong(node, path, f"{shown} is not {expected}{advice}")

    def _unknown(self, key: str, node: Node, path: str, known: list[str]) -> None:
        pattern, problems = _pattern(path), self.errors
        if why := NO_EFFECT.get(pattern):
            problems, message = self.warnings, f"this key has no effect and may go: {why}"
        elif why := GONE.get(pattern):
            message = f"this key is gone: {why}"
        else:
            message = RENAMED.get(pattern) or f"unknown key; {_meant(key, path, known)}"
        problems.append(Problem(node.origin, path, message))

    def _wrong(self, node: Node, path: str, message: str) -> None:
        self.broken = True
        self.errors.append(Problem(node.origin, path, message))


def check(root: Node) -> Checked:
    """Everything that is wrong with a document's keys and values, each by itself."""
    checked = Checked(root.origin)
    checked.values = checked.read(root, FILE, "") or {}
    return checked


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, as a whole or by one of its parts: the first that is near."""
    whole = {each.lower(): each for each in known}
    parts = {part: each for each in reversed(whole.values()) for part in each.lower().split("_") if len(part) > 1}
    for spellings in (whole, parts):
        if near := text.nearest(word, spellings, 0.6):
            return spellings[near]
    return None


def _pattern(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)


def _meant(key: str, path: str, known: list[str]) -> str:
    elsewhere = [each for each in KEYS if each.rpartition(".")[2] == key]
    if near := nearest(key, known) or next(iter(elsewhere), None):
        return f'did you mean "{near}"?'
    place = path.rpartition(".")[0] or "the file"
    return f"{place} takes {', '.join(known)}"


def _advice(takes: Takes, value: Any) -> str:
    """What the writer may have meant, empty where nothing comes to mind."""
    if isinstance(value, str) and (close := nearest(value, takes.choices)):
        return f'; did you mean "{close}"?'
    return "; put it in quotes" if isinstance(value, int | float) and takes.accepts(_show(value)) else ""


_CREDENTIALS = re.compile(r"//[^/]*@")


def _show(value: Scalar) -> str:
    """A plain value as it would be quoted in a sentence; long text is cut, and a name and password in an address."""
    if isinstance(value, str):
        value = _CREDENTIALS.sub("//…@", value)
        return f'"{value if len(value) <= 60 else value[:57] + "..."}"'
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
