"""A person who logs out and in again: the service goes with them, and comes back as they left it."""

from collections.abc import Iterator

import pytest

from tests.box.box import RUNTIME, Box
from tests.box.installation import start_engines
from tests.box.service import UNIT, Service

pytestmark = pytest.mark.real


@pytest.fixture
def enabled(service: Service, box: Box) -> Iterator[Service]:
    """The service that starts with the person's session."""
    service.systemctl("enable", UNIT)
    yield service
    service.systemctl("disable", UNIT)


def test_the_service_ends_with_the_session_and_is_back_with_the_next_one(enabled: Service, box: Box) -> None:
    enabled.start()
    assert enabled.ask("POST", "/efficiency", {"mode": "Quiet"}).status == 200
    pid = enabled.pid()
    box.log_out()
    assert not box.path(f"/proc/{pid}").exists()
    assert not box.path(f"{RUNTIME}/ollama-proxyd").exists()
    box.log_in()
    start_engines(box)
    enabled.until("ActiveState", "active")
    assert enabled.ask("GET", "/efficiency").json()["mode"] == "Quiet"
