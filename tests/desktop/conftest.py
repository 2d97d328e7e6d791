"""Fake laptops for the tests of this folder; without the packages that they need, the tests are skipped loudly."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.desktop.laptop import Laptop, StartLaptop
from tests.real_things import installed


@pytest.fixture
def start_laptop() -> Iterator[StartLaptop]:
    """Starts laptops that live as long as the test: `start_laptop(percent=80.0, has_firmware=True)`."""
    installed("install-desktop-tests")
    with ExitStack() as stack:

        def start(percent: float | None = 80.0, has_firmware: bool = True) -> Laptop:
            return stack.enter_context(Laptop(percent, has_firmware))

        yield start


@pytest.fixture
def laptop(start_laptop: StartLaptop) -> Laptop:
    """A laptop on its charger, at 80 %."""
    return start_laptop()
