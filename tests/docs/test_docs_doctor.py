"""docs/troubleshooting.md has everything that the doctor may say besides that all is well."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_proxyd.cli.doctor import checks, engine_checks
from tests.docs.page import DOCS

SOURCE = ast.parse(Path(checks.__file__).read_text(encoding="utf-8"))
PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = dict(section.split("\n", 1) for section in PAGE.split("\n## ")[1:])
OF_ENGINES = ast.parse(Path(engine_checks.__file__).read_text(encoding="utf-8"))
FUNCTIONS = {node.name: node for node in (*SOURCE.body, *OF_ENGINES.body) if isinstance(node, ast.FunctionDef)}
(TABLE,) = (node.value for node in SOURCE.body if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict))
ROWS = {ast.literal_eval(key): check for key, check in zip(TABLE.keys, TABLE.values, strict=True) if key is not None}
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


def said_by(function: ast.FunctionDef) -> Iterator[tuple[str, ...]]:
    """The fixed parts of each sentence of a check's findings, but for those that all is well."""
    names = assigned(function.body)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding" and not is_well(node):
            yield from (tuple(each) for value in node.args[1:] for each in fragments(value, names))


def sentences() -> list[tuple[str, tuple[str, ...]]]:
    """Each sentence by its fixed parts, with its subject; a check that is made by a call also says its arguments."""
    found = set()
    for subject, check in ROWS.items():
        name, arguments = (check.func, check.args[1:]) if isinstance(check, ast.Call) else (check, [])
        said = (tuple(each) for value in arguments for each in fragments(value, {}))
        found |= {(subject, parts) for parts in (*said_by(FUNCTIONS[ast.unparse(name)]), *said)}
    return sorted(found)


def test_the_sentences_are_found() -> None:
    assert len(sentences()) > 20
    assert ("daemon", ("it does not run",)) in sentences()
    assert ("backends", (" answers, but worse than it should (", ")")) in sentences()


@pytest.mark.parametrize(("subject", "parts"), sentences(), ids=str)
def test_the_page_has_the_sentence_under_its_subject(subject: str, parts: tuple[str, ...]) -> None:
    plain = " ".join(re.sub(r"[*`\\]", "", SECTIONS[subject]).split())
    pattern = ".+?".join(re.escape(" ".join(part.split())) for part in parts if part.strip())
    assert re.search(pattern, plain), parts


def test_the_page_has_a_section_for_every_subject_in_the_order_of_the_checks() -> None:
    assert list(SECTIONS)[: len(ROWS)] == list(ROWS) == list(checks.CHECKS)
