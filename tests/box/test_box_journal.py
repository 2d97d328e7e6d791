"""The journal of a machine that has systemd's module for Python: requests are found by what they were about."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.box import installation
from tests.box.box import Box
from tests.box.installation import MODEL, VENV
from tests.box.service import UNIT, Service
from tests.e2e import tiny_model

pytestmark = pytest.mark.real

SYSTEM_MODULES = "/usr/lib/python3/dist-packages"


@pytest.fixture
def with_systemds_module(box: Box, service: Service) -> Iterator[Service]:
    """The service that also finds the Python modules of the system, python3-systemd among them."""
    (folder,) = box.path(f"{VENV}/lib").glob("python3.*/site-packages")
    file = f"{VENV}/lib/{folder.parent.name}/site-packages/of-the-system.pth"
    box.write(file, f"{SYSTEM_MODULES}\n")
    mode = {"default_mode": "Quiet"}  # not Auto, which may change its mind between a request and a question
    service.configure(installation.config(monitoring={"log_level": "debug"}, efficiency=mode))
    service.start()
    yield service
    box.user("rm", file)


def found(service: Service, *matches: str) -> list[dict[str, Any]]:
    """What the person finds in their own journal."""
    service.box.root("journalctl", "--sync")
    done = service.box.user("journalctl", "--user", "-o", "json", "-q", *matches)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_request_is_found_by_its_id_its_backend_and_its_mode(with_systemds_module: Service) -> None:
    service = with_systemds_module
    chat = {"model": MODEL, "messages": tiny_model.HELLO}
    answer = service.ask("POST", "/v1/chat/completions", chat)
    assert answer.status == 200, answer.body
    request_id = answer.headers["x-request-id"]
    (entry,) = found(service, f"REQUEST_ID={request_id}")
    assert entry["BACKEND"] == answer.headers["x-backend-used"]
    assert entry["MODE"] == "Quiet"
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]) == ("7", "ollama-proxyd")
    assert entry["_SYSTEMD_USER_UNIT"] == UNIT
    assert request_id in entry["MESSAGE"]


def test_fields_take_nothing_from_the_ordinary_lines(with_systemds_module: Service) -> None:
    lines = {entry["MESSAGE"]: entry["PRIORITY"] for entry in with_systemds_module.journal()}
    assert any(weight == "6" and "listens on" in text for text, weight in lines.items())
    assert not [text for text in lines if text.startswith("<")]
