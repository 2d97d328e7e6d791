"""The real programs that tests run against: installed by scripts, or the test is skipped so that everybody sees it."""

import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests import timer

ROOT = Path(__file__).parent.parent
NOT_TRIED = "not tried on the real thing: "
CANNOT = 3
"""The exit status by which an install script says that it cannot do it here."""
LIMIT_S = 1500.0
"""What an install script may take with all that it waits for; each part has a limit of its own (scripts/patiently)."""


@cache
def _run(script: str, *arguments: str) -> tuple[int, str, str]:
    command = [str(ROOT / "scripts" / script), *arguments]
    with timer.stopped():  # the registry may be slow, which says nothing of who needs it first
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def installed(script: str, *arguments: str) -> str:
    """What the install script prints; a loud skip where it says that it cannot install here."""
    status, printed, complaint = _run(script, *arguments)
    if status == CANNOT:
        pytest.skip(NOT_TRIED + (complaint.splitlines() or [script])[-1])
    assert status == 0, complaint
    return printed
