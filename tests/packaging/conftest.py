"""What tests that install the project need."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.real_things import NOT_TRIED, ROOT


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of the lock for this Python."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
    ]
    command = [*pip, "--dest", str(folder), "--requirement", str(ROOT / "requirements.lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{NOT_TRIED}pip could not fetch the wheels of requirements.lock")
    return folder
