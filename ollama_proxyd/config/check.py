"""Holds a document against the shape of the file and collects everything that does not fit."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import inspect

from ollama_proxyd.config.document import Node
from ollama_proxyd.config.expectations import Type, accepts, advice, alternatives, expectation, nearest, show, strip
from ollama_proxyd.config.problems import Origin, Problem
from ollama_proxyd.config.retired import RETIRED, RETIRED_VALUES
from ollama_proxyd.config.schema import FileConfig

_SHAPE: Final = inspect.type_info(FileConfig)


@dataclass(slots=True)
class Checked:
    """What came of a document: the plain data that fits, and what does not.

    `broken` tells that a value was wrong, so that the data is not what the writer meant; an unknown key
    alone does not make it so. `origins` says where each key was written.
    """

    root: Origin
    data: dict[str, Any] = field(default_factory=dict)
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


def check(root: Node) -> Checked:
    """Everything that is wrong with a document's keys and values, each by itself."""
    checked = Checked(root.origin)
    data = _Checker(checked).value(root, _SHAPE, "")
    checked.data = data if isinstance(data, dict) else {}
    return checked


def parse_config(checked: Checked) -> FileConfig | None:
    """The typed configuration, or None where a value was wrong."""
    return None if checked.broken else msgspec.convert(checked.data, FileConfig)


class _Checker:
    def __init__(self, checked: Checked) -> None:
        self._out = checked

    def value(self, node: Node, kind: Type, path: str) -> Any:
        """The plain data of a node that fits, else None with the reason noted."""
        self._out.origins[path] = node.origin
        for each in alternatives(kind):
            bare = strip(each)
            if isinstance(bare, inspect.StructType) and (node.value is None or isinstance(node.value, dict)):
                return self._section(node.value or {}, node, bare, path)
            if isinstance(bare, inspect.VarTupleType) and (node.value is None or isinstance(node.value, list)):
                items = enumerate(node.value or [])
                return [self.value(item, bare.item_type, f"{path}[{index}]") for index, item in items]
        if isinstance(node.value, dict | list):
            written = "a section" if isinstance(node.value, dict) else "a list"
            self._wrong(node, path, f"{written} stands where {expectation(kind)} belongs")
        elif not accepts(kind, node.value):
            self._wrong(node, path, self._mismatch(kind, node, path))
        else:
            return node.value
        return None

    def _section(self, entries: dict[str, Node], node: Node, struct: inspect.StructType, path: str) -> dict[str, Any]:
        fields = {each.encode_name: each for each in struct.fields}
        data = {}
        for key, child in entries.items():
            place = f"{path}.{key}" if path else key
            if key in fields:
                data[key] = self.value(child, fields[key].type, place)
            else:
                self._unknown(key, child, place, list(fields))
        for key, each in fields.items():
            if each.required and key not in entries:
                self._wrong(node, f"{path}.{key}", f"this key is needed: {expectation(each.type)}")
        return data

    def _mismatch(self, kind: Type, node: Node, path: str) -> str:
        assert not isinstance(node.value, dict | list)
        if said := RETIRED_VALUES.get((_pattern(path), str(node.value))):
            return f"{show(node.value)} is not available; {said}"
        return f"{show(node.value)} is not {expectation(kind)}{advice(kind, node.value)}"

    def _unknown(self, key: str, node: Node, path: str, known: list[str]) -> None:
        retired = RETIRED.get(_pattern(path))
        if retired is not None:
            problem = Problem(node.origin, path, retired.message)
            (self._out.errors if retired.fatal else self._out.warnings).append(problem)
            return
        self._out.errors.append(Problem(node.origin, path, f"unknown key; {_meant(key, path, known)}"))

    def _wrong(self, node: Node, path: str, message: str) -> None:
        self._out.broken = True
        self._out.errors.append(Problem(node.origin, path, message))


def _pattern(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)


def _meant(key: str, path: str, known: list[str]) -> str:
    near = nearest(key, known)
    if near:
        return f'did you mean "{near}"?'
    elsewhere = [each for each in _ALL_KEYS if each.rpartition(".")[2] == key]
    if elsewhere:
        return f'did you mean "{elsewhere[0]}"?'
    place = path.rpartition(".")[0] or "the file"
    return f"{place} takes {', '.join(known)}"


def _paths(kind: Type, path: str = "") -> Iterator[str]:
    """Every key of the file, list items written as `[]`."""
    for each in alternatives(kind):
        bare = strip(each)
        if isinstance(bare, inspect.VarTupleType):
            yield from _paths(bare.item_type, f"{path}[]")
        elif isinstance(bare, inspect.StructType):
            for field_ in bare.fields:
                place = f"{path}.{field_.encode_name}" if path else field_.encode_name
                yield place
                yield from _paths(field_.type, place)


_ALL_KEYS: Final = tuple(_paths(_SHAPE))
