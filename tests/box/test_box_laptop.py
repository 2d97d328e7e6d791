"""The laptop around the service: its charger, its devices, and its sleep, with the real daemons that tell of them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.box import installation
from tests.box.box import Box
from tests.box.engines_in_box import Engines
from tests.box.installation import MODEL
from tests.box.laptop_in_box import LaptopInBox
from tests.box.service import PATIENCE_S, Connection, Service
from tests.e2e import tiny_model
from tests.e2e.harness import wait_until
from tests.upstreams.sysfs_tree import PCI_BUS

pytestmark = pytest.mark.real

CHAT = {"model": MODEL, "messages": tiny_model.HELLO}
QUESTION = {"model": MODEL, "prompt_tokens": 100, "max_tokens": 200}
STREAM = {**CHAT, "stream": True, "max_tokens": 1900, "ignore_eos": True}
"""Takes the engine a second, of which it gets a few milliseconds before it is put on hold; a slot has 2,048 tokens."""
LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


def decision(service: Service) -> dict[str, Any]:
    """Where a request would go now, and in which mode."""
    answer: dict[str, Any] = service.ask("POST", "/routing/explain", QUESTION).json()
    return answer


def used(service: Service) -> str:
    """Which device a request really goes to."""
    answer = service.ask("POST", "/v1/chat/completions", CHAT)
    assert answer.status == 200, answer.body
    return answer.headers["x-backend-used"]


def test_pulling_the_plug_sends_the_next_request_elsewhere(service: Service, laptop: LaptopInBox) -> None:
    service.start()
    wait_until(lambda: decision(service)["effective_mode"] == "Performance", "it knows of the charger", PATIENCE_S)
    assert used(service) == "fast"
    laptop.set_power(online=False, percent=15)
    wait_until(lambda: decision(service)["effective_mode"] == "UltraEfficiency", "it knows of the plug", PATIENCE_S)
    assert used(service) == "thrifty"
    assert service.bus_property("SystemState", "OnBattery") == "true"
    laptop.set_power(online=True, percent=90)
    wait_until(lambda: decision(service)["effective_mode"] == "Performance", "it knows of the charger", PATIENCE_S)


def test_a_card_that_is_plugged_in_is_seen_at_once(service: Service, laptop: LaptopInBox) -> None:
    service.configure(installation.config(sensors={"idle_interval_s": 3600, "busy_interval_s": 0.1}))
    service.start()

    def is_seen() -> bool:
        return "0000:04:00.0" in json.dumps(service.ask("GET", "/thermal").json())

    assert not is_seen()
    card = laptop.sysfs.xe_gpu(number=9, card=True)
    try:
        laptop.happened(f"{PCI_BUS}/0000:04:00.0", "pci", "add")
        wait_until(is_seen, "the new card is among the devices", PATIENCE_S)
    finally:
        for path in ("bus/pci/devices/0000:04:00.0", "class/hwmon/hwmon9", card):
            laptop.sysfs.remove(path)


@pytest.fixture
def engines(box: Box) -> Iterator[Engines]:
    """The engines, which go on at the end of the test."""
    engines = Engines(box)
    yield engines
    engines.go_on()


def suspend(box: Box) -> None:
    box.user("busctl", "--system", "call", *LOGIND, "Suspend", "b", "false")


def is_preparing(box: Box) -> bool:
    done = box.user("busctl", "--system", "get-property", *LOGIND, "PreparingForSleep")
    return done.stdout.strip() == "b true"


def inhibitors(box: Box) -> str:
    return box.user("systemd-inhibit", "--list", "--no-legend").stdout


def test_the_daemon_asks_logind_to_wait_for_it(service: Service, box: Box) -> None:
    service.start()
    wait_until(lambda: "ollama-proxyd" in inhibitors(box), "logind knows of the delay", PATIENCE_S)
    line = next(line for line in inhibitors(box).splitlines() if line.startswith("ollama-proxyd"))
    assert line.split()[-1] == "delay"


def blocks_of_the_daemon(box: Box) -> list[str]:
    """What the daemon keeps the machine from doing at this moment."""
    lines = [line for line in inhibitors(box).splitlines() if line.startswith("ollama-proxyd")]
    return [line for line in lines if line.split()[-1] == "block"]


def test_the_machine_is_kept_awake_while_an_answer_is_written_on_mains_power_only(
    service: Service, laptop: LaptopInBox, engines: Engines
) -> None:
    service.configure(installation.config(sleep={"block_while_generating": True}))
    service.start()
    wait_until(lambda: service.bus_property("SystemState", "OnBattery") == "false", "it knows of the charger")
    with service.opened("POST", "/v1/chat/completions", STREAM) as response:
        response.readline()
        engines.hold()
        wait_until(lambda: blocks_of_the_daemon(service.box), "the machine is kept awake", PATIENCE_S)
        assert "sleep" in blocks_of_the_daemon(service.box)[0]
        laptop.set_power(online=False, percent=80)
        wait_until(lambda: not blocks_of_the_daemon(service.box), "on battery it is not", PATIENCE_S)
        laptop.set_power(online=True, percent=90)
        wait_until(lambda: blocks_of_the_daemon(service.box), "on mains power it is again", PATIENCE_S)
        engines.go_on()
        response.read()
    wait_until(lambda: not blocks_of_the_daemon(service.box), "it may sleep when all is written", PATIENCE_S)


def in_flight(service: Service) -> int:
    return sum(int(backend["in_flight"]) for backend in service.ask("GET", "/backends").json())


def until_asleep_is_announced(service: Service) -> None:
    """Wait until logind knows of the daemon, then send the machine to sleep, and wait until the daemon knows."""
    suspend(service.box)
    wait_until(lambda: "sleep" in service.show("StatusText"), "the daemon knows that sleep comes", PATIENCE_S)


@pytest.fixture
def inhibiting(service: Service, laptop: LaptopInBox) -> Service:
    """The service that runs, and for which logind waits."""
    service.start()
    wait_until(lambda: "ollama-proxyd" in inhibitors(service.box), "logind knows of the delay", PATIENCE_S)
    return service


def until_broken_off(service: Service) -> None:
    """Send the machine to sleep, and wait until what runs is broken off."""
    until_asleep_is_announced(service)
    wait_until(lambda: "are broken off" in service.said(), "requests are broken off", PATIENCE_S)


def test_a_stream_that_takes_longer_than_the_delay_goes_on_after_the_sleep(
    inhibiting: Service, engines: Engines
) -> None:
    with inhibiting.opened("POST", "/v1/chat/completions", STREAM) as response:
        first = response.readline()
        engines.hold()
        until_broken_off(inhibiting)
        engines.go_on()
        rest = response.read().decode()
    assert first.startswith(b"data: ")
    assert rest.rstrip().splitlines()[-1] == "data: [DONE]"
    wait_until(lambda: not is_preparing(inhibiting.box), "the machine has woken up", PATIENCE_S)


def test_a_stream_that_ends_within_the_delay_is_not_cut(inhibiting: Service, engines: Engines) -> None:
    with inhibiting.opened("POST", "/v1/chat/completions", STREAM) as response:
        response.readline()
        engines.hold()
        until_asleep_is_announced(inhibiting)
        engines.go_on()
        rest = response.read().decode()
    assert rest.rstrip().splitlines()[-1] == "data: [DONE]"
    wait_until(lambda: not is_preparing(inhibiting.box), "the machine has woken up", PATIENCE_S)


def test_while_sleep_comes_new_requests_are_told_to_come_back(inhibiting: Service, engines: Engines) -> None:
    with inhibiting.opened("POST", "/v1/chat/completions", STREAM) as response:
        response.readline()
        engines.hold()
        until_asleep_is_announced(inhibiting)
        refused = inhibiting.ask("POST", "/v1/chat/completions", CHAT)
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) > 0
    assert "sleep" in refused.json()["error"]["message"]
    wait_until(lambda: not is_preparing(inhibiting.box), "the machine has woken up", PATIENCE_S)


def test_a_request_without_its_first_word_is_answered_after_the_sleep(inhibiting: Service, engines: Engines) -> None:
    engines.hold()
    connection = Connection(inhibiting.box)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(CHAT), {"Content-Type": "application/json"})
        wait_until(lambda: in_flight(inhibiting) == 1, "the request is under way", PATIENCE_S)
        until_broken_off(inhibiting)
        engines.go_on()
        with connection.getresponse() as response:
            assert response.status == 200
    finally:
        connection.close()
    wait_until(lambda: not is_preparing(inhibiting.box), "the machine has woken up", PATIENCE_S)


def test_after_each_sleep_the_daemon_serves_as_before(inhibiting: Service) -> None:
    pid = inhibiting.pid()
    for sleeps in (1, 2):
        wait_until(lambda: "ollama-proxyd" in inhibitors(inhibiting.box), "logind knows of the delay", PATIENCE_S)
        suspend(inhibiting.box)
        wait_until(lambda n=sleeps: inhibiting.said().count("has woken up") == n, "it has woken up", PATIENCE_S)
        wait_until(lambda: inhibiting.ask("POST", "/v1/chat/completions", CHAT).status == 200, "it serves", PATIENCE_S)
    assert inhibiting.pid() == pid
