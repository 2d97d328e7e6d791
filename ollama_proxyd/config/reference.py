"""Writes the reference file: every key with its sentence and its default."""

import re
from collections.abc import Iterator
from textwrap import wrap
from typing import Any, Final

import msgspec
from msgspec import inspect

from ollama_proxyd.config.document import resolve
from ollama_proxyd.config.effective import effective
from ollama_proxyd.config.expectations import Type, alternatives, strip
from ollama_proxyd.config.schema import FileConfig
from ollama_proxyd.config.schema_backends import Backend

EXAMPLE: Final = Backend(id="ollama-npu", endpoint="http://127.0.0.1:11434")
WIDTH: Final = 100
HEAD: Final = """\
# yaml-language-server: $schema=schema.json
#
# Every setting of ollama-proxyd with its default. Copy what you change to
# ~/.config/ollama-proxyd/config.yaml; what you leave out keeps its default.
# `ollama-proxyd --check-config` tells what is wrong with a file."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/-]*|https?://[A-Za-z0-9._:/-]+")


def render() -> str:
    """The text of config/config.yaml."""
    lines = [HEAD]
    for line in _section(inspect.type_info(FileConfig), effective(FileConfig()), ""):
        lines.append(line)
        if line == "backends: []":
            lines.extend(_example())
    return "\n".join(lines) + "\n"


def _example() -> Iterator[str]:
    """A backend with each of its keys, as comments."""
    yield "# backends:"
    lead = "#   - "
    for line in _section(inspect.type_info(Backend), msgspec.to_builtins(EXAMPLE), ""):
        yield lead + line
        lead = "#     "


def _section(kind: Type, values: dict[str, Any], indent: str) -> Iterator[str]:
    struct = strip(kind)
    assert isinstance(struct, inspect.StructType)
    for field in struct.fields:
        name, value = field.encode_name, values[field.encode_name]
        if not indent and name in _SECTIONS:
            yield ""
        yield from wrap(_sentence(field.type), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _section(field.type, value, indent + "  ")
        else:
            yield f"{indent}{name}: {_written(value)}"


_SECTIONS: Final = frozenset(FileConfig.__struct_encode_fields__)


def _sentence(kind: Type) -> str:
    assert isinstance(kind, inspect.Metadata)
    assert kind.extra_json_schema is not None
    sentence = str(kind.extra_json_schema["description"])
    choices = [each for each in map(strip, alternatives(kind)) if isinstance(each, inspect.EnumType)]
    for each in choices:
        sentence += f" One of {', '.join(str(member.value) for member in each.cls)}."
    return sentence


def _written(value: Any) -> str:
    """A value as YAML that reads back as the same."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(each) for each in value)}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and resolve(value) == value:
        return value
    return msgspec.json.encode(value).decode()
