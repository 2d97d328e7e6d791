"""The real programs that tests run against: installed by scripts, or the test is skipped so that everybody sees it."""

import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOT_TRIED = "not tried on the real thing: "
CANNOT = 3
"""The exit status by which an install script says that it cannot do it here."""


@cache
def _run(script: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([ROOT / "scripts" / script, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def installed(script: str, *arguments: str) -> str:
    """What the install script prints; a loud skip where it says that it cannot install here."""
    status, printed, complaint = _run(script, *arguments)
    if status == CANNOT:
        pytest.skip(NOT_TRIED + (complaint.splitlines() or [script])[-1])
    assert status == 0, complaint
    return printed
