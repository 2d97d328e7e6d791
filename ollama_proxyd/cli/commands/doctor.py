"""`ollama-proxyctl doctor`: finds what is wrong on this machine, and says what to do."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ollama_proxyd.cli.commands.status import picture
from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.cli.pictures import Status
from ollama_proxyd.cli.reach import over_http
from ollama_proxyd.cli.session import asked, json_option, say

if TYPE_CHECKING:
    from ollama_proxyd.cli.doctor.checks import Finding
    from ollama_proxyd.cli.doctor.facts import HttpFacts


@click.command()
@json_option
def doctor() -> None:
    """Look for what is wrong here, and say what to do.

    Ends with 0 when all is well, 1 with warnings, 2 with errors.
    """
    from ollama_proxyd.cli.doctor.checks import examine, worst  # noqa: PLC0415 - 0.3 s for the configuration
    from ollama_proxyd.cli.doctor.gather import Places, gather  # noqa: PLC0415 - as above

    facts = gather(Places(os.environ, Path.home()), asked().url, None)
    facts = replace(facts, status=_status(facts.http))
    findings = examine(facts)
    say([_plain(finding) for finding in findings], lambda _: _text(findings))
    click.get_current_context().exit(int(worst(findings)))


def _status(http: "HttpFacts") -> Status | None:
    """What the daemon says of itself, over the bus or at the address where it was found."""
    try:
        with asked().reach() as daemon:
            return picture(daemon)
    except Failed:
        return None if http.version is None else _status_at(http.url)


def _status_at(url: str) -> Status | None:
    try:
        with over_http(url) as daemon:
            return picture(daemon)
    except Failed:
        return None


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
