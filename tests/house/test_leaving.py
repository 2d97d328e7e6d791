"""The machine that answers leaves in the middle of many answers, again and again, and comes back as another."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.harness import wait_until
from tests.house.conftest import House, paired
from tests.house.test_two_machines import CHAT, words_of


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with paired(tmp_path_factory.mktemp("leaving")) as house:
        for each in sorted(each for each in house.laptop.healthy() if "/" not in each and each != "cpu"):
            house.laptop.ask("POST", f"/backends/{each}", {"enabled": False})
        house.laptop.ask("POST", "/efficiency", {"mode": "Performance"})
        yield house


def others(house: House) -> list[str]:
    """What the laptop has of the desktop."""
    return [each for each in house.laptop.healthy() if "/" in each]


@pytest.mark.parametrize("how", ["its end", "its end again", "a cable"])
def test_twenty_answers_come_whole_when_the_machine_leaves_in_their_middle(house: House, how: str) -> None:
    begun = threading.Barrier(21, timeout=60)

    def answer(_: int) -> tuple[str | None, str, bool]:
        with house.laptop.sent("POST", "/v1/chat/completions", {**CHAT, "max_tokens": 40}) as reply:
            used = reply.headers["X-Backend-Used"]
            first = reply.readline()
            begun.wait()
            return used, *words_of(first + reply.read())

    with ThreadPoolExecutor(20) as threads:
        answers = threads.map(answer, range(20))
        begun.wait()
        if "cable" in how:
            house.desktop.unplug()
        else:
            house.desktop.signal(signal.SIGKILL)
            house.desktop.stop()
        told = list(answers)
    assert any((used or "").startswith("desktop/") for used, _, _ in told)
    assert [is_whole for _, _, is_whole in told] == [True] * 20
    if "cable" in how:
        house.desktop.plug()
    else:
        house.desktop.start()
    wait_until(lambda: "desktop/npu" in house.laptop.healthy(), "it is back", 90, 0.5)


@pytest.mark.parametrize(
    ("lost", "says"),
    [("certificate.pem", "has another certificate"), ("peers.json", "it has closed the connection unanswered")],
)
def test_a_machine_that_was_set_up_anew_is_not_used_and_the_reason_says_what_to_do(
    house: House, lost: str, says: str
) -> None:
    (file,) = house.desktop.folder.rglob(lost)
    key = file.with_name("key.pem")
    kept = {each: each.read_bytes() for each in (file, key)}
    house.desktop.stop()
    file.unlink()
    house.desktop.start()
    wait_until(lambda: says in _why(house), f"the laptop says that {says}", 30, 0.5)
    assert "unpair it here and pair both again" in _why(house)
    assert not others(house)
    house.desktop.stop()
    for each, was in kept.items():
        each.write_bytes(was)
    house.desktop.start()
    wait_until(lambda: "desktop/npu" in house.laptop.healthy(), "it is trusted again", 90, 0.5)


def _why(house: House) -> str:
    (peer,) = house.laptop.house()["peers"]
    return str(peer["reason"])
