"""YAML text as a tree of values that know where they were written."""

import math
import re
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import yaml

from ollama_proxyd.config.problems import ConfigError, Origin, Problem

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 20_000
"""How many values a file may hold once its aliases are expanded."""

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it was written; the value of a key stands at the key's line."""

    value: "Scalar | dict[str, Node] | list[Node]"
    origin: Origin
    size: int = 1


_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


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
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            builder.take(event)
    except yaml.YAMLError as error:
        raise ConfigError((*builder.problems, _syntax_problem(error, text, source))) from None
    if builder.problems:
        raise ConfigError(builder.problems)
    return builder.root


def _syntax_problem(error: yaml.YAMLError, text: str, source: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        lines = text.splitlines()
        written = lines[mark.line] if mark.line < len(lines) else ""
        if "\t" in written[: len(written) - len(written.lstrip())]:
            return Problem(Origin(source, mark.line + 1), "", "a tab indents this line; use spaces")
        said = ", ".join(part for part in (error.context, error.problem) if part)
        return Problem(Origin(source, mark.line + 1), "", f"this is not YAML: {said}")
    return Problem(Origin(source), "", f"this is not YAML: {error}")


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet; `key` waits for its value."""

    origin: Origin
    anchor: str | None
    entries: dict[str, Node] | None
    items: list[Node] = field(default_factory=list)
    key: str | None = None
    key_origin: Origin | None = None
    size: int = 1


class _Builder:
    """Builds the tree from the parser's events, without recursion."""

    def __init__(self, source: str) -> None:
        self.root = Node(None, Origin(source))
        self.problems: list[Problem] = []
        self._source = source
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event; raises ConfigError where going on makes no sense."""
        origin = Origin(self._source, event.start_mark.line + 1 if event.start_mark else None)
        if tag := getattr(event, "tag", None):
            self._note(origin, f"the tag {tag} is not supported; write the plain value")
        match event:
            case yaml.ScalarEvent():
                self._scalar(event, origin)
            case yaml.AliasEvent():
                self._alias(event.anchor or "", origin)
            case yaml.MappingStartEvent():
                self._begin(_Open(origin, event.anchor, {}))
            case yaml.SequenceStartEvent():
                self._begin(_Open(origin, event.anchor, None))
            case yaml.CollectionEndEvent():
                self._end()
            case yaml.DocumentStartEvent():
                self._document(origin)

    def _document(self, origin: Origin) -> None:
        self._documents += 1
        if self._documents > 1:
            self._note(origin, "a second document begins here; keep one in a file")

    def _scalar(self, event: yaml.ScalarEvent, origin: Origin) -> None:
        plain = event.implicit[0]
        value = resolve(event.value) if plain else event.value
        if self._key_is_next():
            self._key(event.value if isinstance(value, str) else None, origin)
            return
        node = Node(value, origin)
        self._anchor(event.anchor, node)
        self._place(node)

    def _alias(self, anchor: str, origin: Origin) -> None:
        node = self._anchors.get(anchor)
        if node is None:
            self._note(origin, f"*{anchor} refers to nothing that ends before this line")
            node = Node(None, origin)
        self._place(node)

    def _begin(self, container: _Open) -> None:
        if len(self._open) == MAX_DEPTH:
            self._note(container.origin, f"more than {MAX_DEPTH} levels deep")
            raise ConfigError(self.problems)
        self._open.append(container)

    def _end(self) -> None:
        done = self._open.pop()
        node = Node(done.items if done.entries is None else done.entries, done.origin, done.size)
        self._anchor(done.anchor, node)
        self._place(node)

    def _anchor(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _key_is_next(self) -> bool:
        return bool(self._open) and self._open[-1].entries is not None and self._open[-1].key_origin is None

    def _key(self, text: str | None, origin: Origin) -> None:
        """Remember a key until its value comes; a key that cannot stand is reported and its value dropped."""
        parent = self._open[-1]
        parent.key_origin = origin
        parent.key = None
        if text is None:
            self._note(origin, "a key must be text; put quotes around it")
        elif parent.entries and text in parent.entries:
            self._note(origin, f"the key {text} was already given in line {parent.entries[text].origin.line}")
        else:
            parent.key = text

    def _place(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.size += node.size
        if parent.size > MAX_VALUES:
            self._note(node.origin, f"more than {MAX_VALUES} values, each alias counted as what it stands for")
            raise ConfigError(self.problems)
        if parent.entries is None:
            parent.items.append(node)
        elif parent.key_origin is None:
            self._key(None, node.origin)
        else:
            if parent.key is not None:
                parent.entries[parent.key] = replace(node, origin=parent.key_origin)
            parent.key_origin = None

    def _note(self, origin: Origin, message: str) -> None:
        self.problems.append(Problem(origin, "", message))
