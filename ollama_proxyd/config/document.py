"""YAML text as plain values that know where they were written."""

import math
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

import yaml

from ollama_proxyd.config.problems import ConfigError, Origin, Problem

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 20_000
"""How many values a file may hold once its aliases are expanded."""

TOO_MANY: Final = f"more than {MAX_VALUES} values, each alias counted as what it stands for"

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it was written; the value of a key stands at the key's line."""

    value: "Scalar | dict[str, Node] | list[Node]"
    origin: Origin


_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def resolve(text: str) -> Scalar:
    """An unquoted word as YAML 1.2 reads it, so `22:00`, `on` and `yes` stay text; so do infinities."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def parse(text: str, source: str) -> Node:
    """The tree of one document; raises ConfigError for text that is not YAML of the plain kind."""
    if odd := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise ConfigError([Problem(Origin(source, line), "", f"the character {odd[0]!r} stands here; remove it")])
    reader = _Reader(source)
    try:
        reader.look_through(text)
        root = yaml.compose(text, Loader=_LOADER) if not reader.problems else None
    except yaml.YAMLError as error:
        raise ConfigError((*reader.problems, _syntax_problem(error, text, source))) from None
    tree = Node(None, Origin(source)) if root is None else reader.node(root, Origin(source, root.start_mark.line + 1))
    if reader.problems:
        raise ConfigError(reader.problems)
    return tree


def _syntax_problem(error: yaml.YAMLError, text: str, source: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        lines = text.splitlines()
        written = lines[mark.line] if mark.line < len(lines) else ""
        if "\t" in written[: len(written) - len(written.lstrip())]:
            return Problem(Origin(source, mark.line + 1), "", "a tab indents this line; use spaces")
        said = ", ".join(part for part in (error.context, error.problem) if part)
        return Problem(Origin(source, mark.line + 1), "", f"this is not YAML: {said}")
    return Problem(Origin(source), "", f"this is not YAML: {error}")


class _Reader:
    def __init__(self, source: str) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._values = 0
        self._key = Origin(source)
        self._inside: list[yaml.Node] = []

    def look_through(self, text: str) -> None:
        """Refuse what would not be read; libyaml's composer recurses in C, so that depth would end the process."""
        depth = documents = nodes = 0
        for event in yaml.parse(text, Loader=_LOADER):
            origin = Origin(self._source, event.start_mark.line + 1 if event.start_mark else None)
            if tag := getattr(event, "tag", None):
                self._note(origin, f"the tag {tag} is not supported; write the plain value")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            documents += isinstance(event, yaml.DocumentStartEvent)
            nodes += isinstance(event, yaml.NodeEvent)
            if nodes > 2 * MAX_VALUES:  # a key and its value are two
                self._stop(origin, TOO_MANY)
            if depth > MAX_DEPTH:
                self._stop(origin, f"more than {MAX_DEPTH} levels deep")
            if documents > 1:
                self._stop(origin, "a second document begins here; keep one in a file")

    def node(self, written: yaml.Node, origin: Origin) -> Node:
        """A composed node with all that is in it, aliases expanded."""
        self._values += 1
        if self._values > MAX_VALUES:
            self._stop(self._key, TOO_MANY)
        if isinstance(written, yaml.ScalarNode):
            return Node(written.value if written.style else resolve(written.value), origin)
        if written in self._inside:
            self._stop(origin, "an alias stands within what it stands for")
        if len(self._inside) == MAX_DEPTH:
            self._stop(self._key, f"more than {MAX_DEPTH} levels deep")
        self._inside.append(written)
        is_list = isinstance(written, yaml.SequenceNode)
        node = Node(self._items(written) if is_list else self._entries(written), origin)
        self._inside.pop()
        return node

    def _items(self, written: yaml.Node) -> list[Node]:
        return [self.node(each, self._origin(each)) for each in written.value]

    def _entries(self, written: yaml.Node) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key, value in written.value:
            origin = self._origin(key)
            text = key.value
            if not isinstance(key, yaml.ScalarNode) or not (key.style or isinstance(resolve(text), str)):
                self._note(origin, "a key must be text; put quotes around it")
            elif text in entries:
                self._note(origin, f"the key {text} was already given in line {entries[text].origin.line}")
            else:
                self._key = origin
                entries[text] = self.node(value, origin)
        return entries

    def _origin(self, written: yaml.Node) -> Origin:
        return Origin(self._source, written.start_mark.line + 1)

    def _note(self, origin: Origin, message: str) -> None:
        self.problems.append(Problem(origin, "", message))

    def _stop(self, origin: Origin, message: str) -> None:
        self._note(origin, message)
        raise ConfigError(self.problems)
