"""What is derived from the declared options: the reference file, the JSON Schema and the table in the documentation."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ollama_proxyd.config.document import resolve
from ollama_proxyd.config.shape import FILE, Section, default_of, is_required
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.options import Plain, Setting, Takes

ROOT: Final = Path(__file__).resolve().parent.parent
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "backends": {"id": "ollama-npu", "endpoint": "http://127.0.0.1:11434"},
    "frontends": {"name": "chat", "hosts": ["chat.internal"]},
    "engines": {"id": "llama", "models_dir": "~/models"},
}
WIDTH: Final = 100
HEAD: Final = """\
# yaml-language-server: $schema=schema.json
#
# Every setting of ollama-proxyd with its default. Copy what you change to
# ~/.config/ollama-proxyd/config.yaml; what you leave out keeps its default.
# `ollama-proxyd --check-config` tells what is wrong with a file."""
TABLE: Final = re.compile(
    "(?<=<!-- options: scripts/schema writes this table -->\n).*?(?=<!-- end of options -->)", re.DOTALL
)
_PLAIN: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/-]*|https?://[A-Za-z0-9._:/-]+")
_TYPES: Final = {bool: "boolean", int: "integer", float: "number"}


def derived() -> Iterator[tuple[Path, str]]:
    """Each derived file with the text that it must have."""
    docs = ROOT / "docs/configuration.md"
    yield ROOT / "config/schema.json", json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    yield ROOT / "config/config.yaml", reference()
    yield docs, TABLE.sub(lambda _: table(), docs.read_text(encoding="utf-8"))


def json_schema() -> dict[str, Any]:
    """The schema of the file, from which editors complete and check it."""
    return {"$schema": DIALECT, "title": "ollama-proxyd configuration", **_object(FILE)}


def reference() -> str:
    """Every key with its sentence and its default."""
    lines = [HEAD]
    for line in _section(FILE, FILE.defaults(), ""):
        lines.append(line)
        if line.endswith(": []") and (name := line.removesuffix(": []")) in EXAMPLES:
            lines.extend(_example(name))
    return "\n".join(lines) + "\n"


def table() -> str:
    """The options as rows of a table in Markdown; what each mode has stands once, as `*`."""
    lines = ["| key | default | what it is | takes | a change needs |", "| --- | --- | --- | --- | --- |"]
    modes = "|".join(mode.value for mode in Mode)
    rows = {re.sub(rf"\.({modes})\.", ".*.", key): setting for key, setting in _settings(FILE, "")}
    for key, setting in rows.items():
        default = "needed" if is_required(setting) else f"`{_written(setting.default)}`"
        default = "by mode" if ".*." in key else default
        takes = f"a list, each {setting.takes}" if setting.is_list else str(setting.takes)
        takes = f"names, each with {takes}" if setting.takes.is_map else takes
        needs = "a reload" if setting.option.reload else "a restart"
        lines.append(f"| `{key}` | {default} | {setting.option.sentence} | {takes} | {needs} |")
    return "\n".join(lines) + "\n"


def _settings(section: Section, path: str) -> Iterator[tuple[str, Setting]]:
    """Every option with its key, in the order of the file."""
    for name, entry in section.entries.items():
        if isinstance(entry, Setting):
            yield f"{path}{name}", entry
        else:
            yield from _settings(entry, f"{path}{name}{'[]' if entry.is_list else ''}.")


def _object(section: Section) -> dict[str, Any]:
    required = [key for key, each in section.entries.items() if is_required(each)]
    properties = {key: _property(each) for key, each in section.entries.items()}
    needs = {"required": required} if required else {}
    return {"type": "object", "properties": properties, **needs, "additionalProperties": False}


def _property(entry: Section | Setting) -> dict[str, Any]:
    default = {} if is_required(entry) else {"default": default_of(entry)}
    described = {"description": _sentence(entry), **default}
    shape = _object(entry) if isinstance(entry, Section) else _value(entry.takes)
    shape = {"type": "array", "items": shape} if entry.is_list else shape
    if isinstance(entry, Setting) and entry.takes.is_map:
        shape = {"type": "object", "additionalProperties": shape}
    return described | shape


def _value(takes: Takes) -> dict[str, Any]:
    if takes.base is Plain:
        return {"type": ["string", "number", "boolean"]}
    kind: Any = _TYPES.get(takes.base, "string")
    bounds = {"minimum": takes.limits.ge, "maximum": takes.limits.le, "exclusiveMinimum": takes.limits.gt}
    value: dict[str, Any] = {name: bound for name, bound in bounds.items() if bound is not None}
    if takes.choices:
        value["enum"] = list(takes.choices)
    elif kind == "string":
        value["pattern"] = takes.form.pattern
    return {"type": [kind, "null"] if takes.is_nullable else kind, **value}


def _example(name: str) -> Iterator[str]:
    """One of a list with each of its keys, as comments."""
    section = FILE.entries[name]
    assert isinstance(section, Section)
    yield f"# {name}:"
    lead = "#   - "
    for line in _section(section, {**section.defaults(), **EXAMPLES[name]}, ""):
        yield lead + line
        lead = "#     "


def _section(section: Section, values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, entry in section.entries.items():
        if section is FILE:
            yield ""
        yield from wrap(_sentence(entry), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if isinstance(entry, Section) and not entry.is_list:
            yield f"{indent}{key}:"
            yield from _section(entry, values[key], indent + "  ")
        else:
            yield f"{indent}{key}: {_written(values[key])}"


def _sentence(entry: Section | Setting) -> str:
    if isinstance(entry, Section):
        return entry.sentence
    choices = f" One of {', '.join(entry.takes.choices)}." if entry.takes.choices else ""
    return entry.option.sentence + choices


def _written(value: Any) -> str:
    """A value as YAML that reads back as the same."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_written(name)}: {_written(each)}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and resolve(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    for path, text in derived():
        path.write_text(text, encoding="utf-8")
