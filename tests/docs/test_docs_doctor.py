"""docs/troubleshooting.md has everything that the doctor may say besides that all is well."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_proxyd.cli.doctor import checks
from tests.docs.page import DOCS

SOURCE = ast.parse(Path(checks.__file__).read_text(encoding="utf-8"))
PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = dict(section.split("\n", 1) for section in PAGE.split("\n## ")[1:])
FUNCTIONS = [node for node in SOURCE.body if isinstance(node, ast.FunctionDef)]
Names = dict[str, list[ast.expr]]


def assigned(body: list[ast.stmt]) -> Names:
    """Every value that a name gets."""
    found: Names = {}
    for node in (inner for statement in body for inner in ast.walk(statement)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


GLOBAL = assigned([node for node in SOURCE.body if isinstance(node, ast.Assign)])


def fragments(value: ast.expr, names: Names) -> Iterator[list[str]]:
    """The fixed parts of each sentence that a value may be; what others say has none."""
    if isinstance(value, ast.Name):
        for each in names.get(value.id) or GLOBAL.get(value.id, []):
            yield from fragments(each, names)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield [value.value]
    elif isinstance(value, ast.JoinedStr):
        yield [str(part.value) for part in value.values if isinstance(part, ast.Constant)]
    for part in parts_of(value):
        yield from fragments(part, names)


def parts_of(value: ast.expr) -> list[ast.expr]:
    """The sentences that a value puts together."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).endswith(".join"):
        return value.args
    if isinstance(value, ast.List):
        return value.elts
    if isinstance(value, ast.Starred):
        return [value.value]
    if isinstance(value, ast.ListComp):
        return [value.elt]
    return [value.body, value.orelse] if isinstance(value, ast.IfExp) else []


def is_well(call: ast.Call) -> bool:
    return ast.unparse(call.args[0]) == "Level.OK"


def sentences() -> list[tuple[str, tuple[str, ...]]]:
    """Each sentence by its fixed parts, with its subject; "" where several subjects share it."""
    found = []
    for function in FUNCTIONS:
        names = assigned(function.body)
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "Finding" and not is_well(node):
                subject = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
                found += [(str(subject), tuple(each)) for value in node.args[2:] for each in fragments(value, names)]
            elif node.func.id == "_service":
                subject = str(node.args[1].value) if isinstance(node.args[1], ast.Constant) else ""
                found += [(subject, tuple(each)) for value in node.args[3:] for each in fragments(value, names)]
    return sorted(set(found))


def subjects() -> set[str]:
    calls = [node for node in ast.walk(SOURCE) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    named = [node.args[1] for node in calls if node.func.id in {"Finding", "_service"}]  # type: ignore[attr-defined]
    return {str(node.value) for node in named if isinstance(node, ast.Constant)}


def test_the_sentences_are_found() -> None:
    assert len(sentences()) > 20
    assert ("daemon", ("it does not run",)) in sentences()
    assert ("backends", (" answers, but worse than it should (", ")")) in sentences()


@pytest.mark.parametrize(("subject", "parts"), sentences(), ids=str)
def test_the_page_has_the_sentence_under_its_subject(subject: str, parts: tuple[str, ...]) -> None:
    where = SECTIONS[subject] if subject else PAGE
    plain = " ".join(re.sub(r"[*`\\]", "", where).split())
    pattern = ".+?".join(re.escape(" ".join(part.split())) for part in parts if part.strip())
    assert re.search(pattern, plain), parts


def test_the_page_has_a_section_for_every_subject_in_the_order_of_the_checks() -> None:
    assert subjects() <= SECTIONS.keys()
    assert len(subjects()) == len(checks.CHECKS)
