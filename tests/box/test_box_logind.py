"""The real logind keeps what the daemon, and the fake of its tests, rely on."""

import pytest

from tests.box.box import Box
from tests.box.installation import BIN, SOURCE

pytestmark = pytest.mark.real


def test_logind_is_as_the_daemon_believes_it_to_be(box: Box) -> None:
    box.root(f"{BIN}/python", f"{SOURCE}/logind_contract.py")
