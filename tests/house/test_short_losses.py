"""A connection to a paired machine that is lost, or begun anew, refuses no request that the machine can answer."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.e2e.harness import wait_until
from tests.house.conftest import PORT, House, Machine, Radio, paired, run
from tests.house.test_two_machines import CHAT, targeted

SETTLE_S = 4.0
"""Until what is told by mDNS has been heard."""
AWAY = re.compile(r"desktop is away since \d{4}-\d\d-\d\d \d\d:\d\d: ")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A machine with a radio."""
    with paired(tmp_path_factory.mktemp("losses"), Radio(0.02, 0.02)) as house:
        yield house


def asked_while(machine: Machine, backend: str, happens: Callable[[], None]) -> list[tuple[int, bytes]]:
    """The answers of requests to a backend, from before something happens until after it."""
    told: list[tuple[int, bytes]] = []
    with ThreadPoolExecutor(5) as threads:
        happening = threads.submit(happens)

        def ask() -> None:
            is_last = False
            while not is_last:
                is_last = happening.done()
                told.append(targeted(machine, backend)[:2])

        for done in [threads.submit(ask) for _ in range(4)]:
            done.result()
        happening.result()
    return told


def test_another_address_of_the_machine_costs_no_request(house: House) -> None:
    """It says goodbye by mDNS, and greets again."""

    def change() -> None:
        for word in ("add", "del"):
            run("ip", "-n", house.desktop.space, "address", word, "10.77.0.77/24", "dev", "eth0")
            time.sleep(SETTLE_S)

    assert {status for status, _ in asked_while(house.laptop, "desktop/nvidia", change)} == {200}
    assert "desktop is gone" not in house.laptop.log()


def test_a_machine_at_another_address_is_used_there(house: House) -> None:
    """It has gone from its radio to its cable, say."""
    space = house.desktop.space

    def move() -> None:
        run("ip", "-n", space, "address", "del", "10.77.0.1/24", "dev", "eth0")
        run("ip", "-n", space, "address", "add", "10.77.0.9/24", "dev", "eth0")
        wait_until(lambda: house.laptop.house()["peers"][0]["address"] == f"10.77.0.9:{PORT}", "it is there", 60, 0.2)

    told = asked_while(house.laptop, "desktop/nvidia", move)
    assert 404 not in {status for status, _ in told}
    wait_until(lambda: targeted(house.laptop, "desktop/nvidia")[0] == 200, "it answers there", 60, 0.2)


def test_a_machine_that_starts_anew_is_away_and_never_unknown(house: House) -> None:
    def restart() -> None:
        house.desktop.signal(signal.SIGKILL)
        house.desktop.stop()
        wait_until(lambda: "desktop/nvidia" not in house.laptop.healthy(), "it is away", 30, 0.2)
        time.sleep(SETTLE_S)
        house.desktop.start()

    told = asked_while(house.laptop, "desktop/nvidia", restart)
    assert {status for status, _ in told} <= {200, 502, 503}
    assert any(AWAY.search(body.decode()) for status, body in told if status == 503)
    wait_until(lambda: "desktop/nvidia" in house.laptop.healthy(), "it is back", 90, 0.5)


def test_what_is_away_is_told_alike_everywhere(house: House) -> None:
    house.desktop.stop()
    wait_until(lambda: "desktop/nvidia" not in house.laptop.healthy(), "it is away", 30, 0.2)
    asked = {**CHAT, "stream": False}
    with house.laptop.sent("POST", "/v1/chat/completions", asked, {"X-Target-Backend": "desktop/nvidia"}) as reply:
        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) > 0
        refusal = json.loads(reply.read())["error"]["message"]
    (peer,) = house.laptop.house()["peers"]
    (backend,) = [
        each for each in json.loads(house.laptop.ask("GET", "/backends")[1]) if each["id"] == "desktop/nvidia"
    ]
    explained = house.laptop.ask("POST", "/routing/explain", {"model": "demo:latest"})[1].decode()
    assert not peer["is_connected"]
    assert peer["reason"].startswith("away since ")
    assert AWAY.match(backend["reason"])
    for told in (refusal, explained):
        assert backend["reason"] in told


def test_a_daemon_that_starts_anew_knows_what_is_away(house: House) -> None:
    house.desktop.stop()
    wait_until(lambda: "desktop/nvidia" not in house.laptop.healthy(), "it is away", 30, 0.2)
    house.laptop.stop()
    house.laptop.start()
    status, body, _ = targeted(house.laptop, "desktop/nvidia")
    assert status == 503
    assert AWAY.search(body.decode())
    assert targeted(house.laptop, "desktop/none")[0] == 404
    house.desktop.start()
    wait_until(lambda: "desktop/nvidia" in house.laptop.healthy(), "it is back", 90, 0.5)


def test_a_request_waits_until_a_daemon_that_starts_anew_has_found_the_machine(house: House) -> None:
    house.laptop.stop()
    house.laptop.start()
    assert targeted(house.laptop, "desktop/nvidia")[0] == 200


def test_from_its_first_moment_a_daemon_knows_what_paired_machines_have(house: House) -> None:
    house.laptop.stop()
    with ThreadPoolExecutor(1) as threads:
        starting, told = threads.submit(house.laptop.start), list[int]()
        while not starting.done():
            with suppress(OSError):
                told.append(targeted(house.laptop, "desktop/nvidia")[0])
        starting.result()
    assert told
    assert set(told) <= {200, 503}
