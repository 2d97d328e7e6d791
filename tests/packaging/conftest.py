"""What tests that install the project need."""

from pathlib import Path

import pytest

from tests.real_things import installed


@pytest.fixture(scope="session")
def wheels() -> Path:
    """The wheels of the lock for this Python."""
    return Path(installed("fetch-wheels"))
