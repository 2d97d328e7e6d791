"""`ollama-proxyctl doctor`: finds what is wrong on this machine, and says what to do."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ollama_proxyd.cli.session import asked, json_option, say

if TYPE_CHECKING:
    from ollama_proxyd.cli.doctor.checks import Finding


@click.command()
@json_option
def doctor() -> None:
    """Find problems on this machine, each with one piece of advice.

    Exit status: 0 without problems, 1 with warnings, 2 with errors.
    """
    from ollama_proxyd.cli.doctor.checks import examine, worst  # noqa: PLC0415 - 0.3 s for the configuration
    from ollama_proxyd.cli.doctor.gather import Places, gather  # noqa: PLC0415 - as above

    findings = examine(gather(Places(os.environ, Path.home()), asked().url))
    say([_plain(finding) for finding in findings], lambda _: _text(findings))
    click.get_current_context().exit(int(worst(findings)))


def _plain(finding: "Finding") -> dict[str, Any]:
    return {
        "level": finding.level.name.lower(),
        "subject": finding.subject,
        "says": finding.says,
        "do": finding.do or None,
    }


def _text(findings: "Sequence[Finding]") -> str:
    """A line for each finding, and one below it for what to do."""
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level.name.lower():<7}  {finding.subject:<{width}}  {finding.says}")
        if finding.do:
            lines.append(f"{'':<9}{'':<{width}}  → {finding.do}")
    return "\n".join(lines)
