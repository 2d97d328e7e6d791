"""What a page of the documentation tells people to type."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
NOT_RUN = "not run here: "
EXITS = "exits with: "


@dataclass(frozen=True)
class Block:
    """Commands that stand together. statuses: how they may end; not_run: why the test cannot run them here."""

    page: str
    line: int
    script: str
    statuses: tuple[int, ...] = (0,)
    not_run: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Every block of commands: those for a shell, and lines that begin with a prompt."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in FENCE.finditer(text):
        script = commands(fence["kind"], fence["body"])
        if script:
            note = fence["note"] or ""
            line = text.count("\n", 0, fence.start("body"))
            statuses = tuple(map(int, note.removeprefix(EXITS).split())) if note.startswith(EXITS) else (0,)
            not_run = note.removeprefix(NOT_RUN) if note.startswith(NOT_RUN) else ""
            found.append(Block(page.name, line, script, statuses, not_run))
    return found


def commands(kind: str, body: str) -> str:
    """The part of a block that is typed."""
    typed, goes_on = [], False
    for line in body.splitlines():
        if line.startswith("$ ") or goes_on:
            typed.append(line.removeprefix("$ "))
            goes_on = line.endswith("\\")
    return "\n".join(typed) if typed else body if kind == "sh" else ""
