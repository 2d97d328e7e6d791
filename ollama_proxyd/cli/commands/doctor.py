"""`ollama-proxyctl doctor`: finds what is wrong on this machine, and says what to do."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ollama_proxyd.cli.session import asked, json_option, say

if TYPE_CHECKING:
    from ollama_proxyd.cli.doctor.findings import Finding


@click.command()
@json_option
def doctor() -> None:
    """Find problems, each with one piece of advice.

    Exit status: 0 without problems, 1 with warnings, 2 with errors.
    """
    from ollama_proxyd.cli.doctor.checks import examine, worst  # noqa: PLC0415 - 0.3 s for the configuration
    from ollama_proxyd.cli.doctor.gather import Places, gather  # noqa: PLC0415 - as above

    findings = examine(gather(Places(os.environ, Path.home()), asked().url))
    say([_plain(finding) for finding in findings], lambda _: _text(findings))
    click.get_current_context().exit(int(worst(findings)))


def _plain(finding: "Finding") -> dict[str, Any]:
    return {**finding._asdict(), "level": finding.level.name.lower(), "do": finding.do or None}


def _text(findings: "Sequence[Finding]") -> str:
    """What each finding says and below it what to do, within the width of the terminal."""
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(_wrapped(f"{finding.level.name.lower():<7}  {finding.subject:<{width}}  ", finding.says))
        if finding.do:
            lines.append(_wrapped(f"{'':<9}{'':<{width}}  → ", finding.do))
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> str:
    """A text beside its head; what is read by a program keeps its line."""
    if not sys.stdout.isatty():
        return head + text
    return click.wrap_text(text, shutil.get_terminal_size().columns, head, " " * len(head))
