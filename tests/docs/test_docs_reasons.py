"""docs/reasons.md shows each reason's code, values and sentence; the program uses each, with these values."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ollama_proxyd.core import sentences
from ollama_proxyd.core.engine_sentences import ENGINES
from ollama_proxyd.core.feature_sentences import FEATURES
from ollama_proxyd.core.note_sentences import NOTES
from ollama_proxyd.core.pull_sentences import PULLS
from ollama_proxyd.core.sentences import SENTENCES
from tests.sources import parsed

ROOT = Path(__file__).parents[2]
GROUPS = {
    "Modes": sentences.MODES,
    "Health": sentences.HEALTH,
    "Engines": ENGINES,
    "Faults": sentences.FAULTS,
    "Rejections": sentences.REJECTIONS,
    "Limits": sentences.LIMITS,
    "Decisions": sentences.DECISIONS,
    "Notes": NOTES,
    "Pulls": PULLS,
    "Readings": sentences.READINGS,
    "Features": FEATURES,
}


def fields_of(code: str) -> frozenset[str]:
    """The values that a code may have."""
    return frozenset(re.findall(r"\{(\w+)", SENTENCES[code]))


def rows() -> Iterator[str]:
    for title, table in GROUPS.items():
        yield f"## {title}"
        for code, sentence in table.items():
            values = ", ".join(f"`{name}`" for name in sorted(fields_of(code))) or "none"
            yield f"| `{code}` | {values} | {sentence} |"


def programs() -> Iterator[ast.AST]:
    for path in (ROOT / "ollama_proxyd").rglob("*.py"):
        if not path.name.endswith("sentences.py"):
            yield from ast.walk(parsed(path))


def calls() -> Iterator[tuple[str, set[str]]]:
    """Each reason that is made with a code and values as they stand there."""
    for node in programs():
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in {"Reason", "because"}:
            yield str(node.args[0].value), {each.arg for each in node.keywords if each.arg}


def test_the_page_shows_the_table_of_the_program() -> None:
    page = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
    shown = [line for line in page.splitlines() if line.startswith(("| `", "## "))]
    assert shown == list(rows())


def test_a_reason_has_only_values_that_its_sentence_knows() -> None:
    wrong = {code: values for code, values in calls() if not values <= fields_of(code)}
    assert not wrong


def test_the_program_gives_every_reason_of_the_table() -> None:
    said = {node.value for node in programs() if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert not SENTENCES.keys() - said


def test_a_code_means_one_thing() -> None:
    assert len(SENTENCES) == sum(len(table) for table in GROUPS.values())
