"""A start under systemd: when the service counts as started, what it says of itself, and who may start it."""

import pytest

from tests.box import installation
from tests.box.box import Box
from tests.box.engines_in_box import Engines
from tests.box.installation import MODEL
from tests.box.service import BUS_NAME, PATIENCE_S, UNIT, Service
from tests.e2e import tiny_model
from tests.e2e.harness import wait_until

pytestmark = pytest.mark.real

CHAT = {"model": MODEL, "messages": tiny_model.HELLO}


def test_a_started_service_serves_from_the_first_moment(service: Service) -> None:
    service.start()
    answer = service.ask("POST", "/v1/chat/completions", CHAT)
    assert answer.status == 200
    assert answer.json()["choices"][0]["message"]["content"] == tiny_model.REPLY


def test_a_started_service_is_on_the_bus(service: Service) -> None:
    service.start()
    names = service.busctl("--acquired", "--no-legend", "list").stdout
    assert BUS_NAME in names


def test_the_status_says_in_words_where_it_listens_and_what_it_has(service: Service) -> None:
    service.start()
    status = service.show("StatusText")
    assert "8080" in status
    assert "2 backends" in status


def test_an_engine_that_accepts_and_says_nothing_does_not_keep_the_service_from_starting(
    service: Service, box: Box
) -> None:
    patient = {"health_interval_s": 120, "health_timeout_s": 120}  # longer than systemd waits for the service
    service.configure(installation.config(monitoring=patient, upstream={"probe_s": 120}))
    engines = Engines(box)
    engines.hold("fast")
    try:
        service.start()
        assert "1 of 2 backends up" in service.show("StatusText")
    finally:
        engines.go_on()
    wait_until(lambda: "2 of 2 backends up" in service.show("StatusText"), "both engines are seen", PATIENCE_S)


def test_a_clean_stop_is_no_failure(service: Service) -> None:
    service.start()
    service.systemctl("stop", UNIT)
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")


def test_a_call_on_the_bus_starts_the_service_and_is_answered(service: Service) -> None:
    assert service.show("ActiveState") == "inactive"
    assert service.bus_property("Efficiency", "CurrentMode") == '"Auto"'
    assert service.show("ActiveState") == "active"


def test_lines_in_the_journal_have_the_weight_that_they_were_written_with(service: Service) -> None:
    service.configure(
        {"monitoring": {"log_level": "debug"}, "backends": [{"id": "nobody", "endpoint": "http://127.0.0.1:9"}]}
    )
    service.start()
    weights = {entry["PRIORITY"] for entry in service.journal()}
    assert "6" in weights
    assert weights & {"3", "4"}


def test_the_daemon_may_open_as_many_files_as_the_system_lets_it(service: Service, box: Box) -> None:
    service.start()
    limits = box.path(f"/proc/{service.pid()}/limits").read_text(encoding="utf-8")
    soft, hard = next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files"))
    assert soft == hard
