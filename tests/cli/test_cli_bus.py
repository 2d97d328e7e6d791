"""The connection to the bus: what it says when the other side is silent, rude or gone."""

import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ollama_proxyd.cli import bus as module
from ollama_proxyd.cli.bus import BUS, MEMBER, Bus
from ollama_proxyd.cli.failures import Failed, Unreachable
from ollama_proxyd.cli.over_dbus import BusDaemon
from tests.cli.conftest import ServedDaemon
from tests.desktop.private_bus import PrivateBus


def test_signals_come_in_bursts_each_once(private_bus: PrivateBus) -> None:
    with closing(Bus(private_bus.address)) as bus:
        bursts = bus.bursts(["type='signal',member='NameOwnerChanged'"])
        assert next(bursts) == (), "it listens"
        for names in (["a.b", "a.c"], ["a.d"]):
            for name in names:
                bus.call(BUS, "RequestName", "su", name, 0)
            told = [message for message in next(bursts) if message.fields[MEMBER] == "NameOwnerChanged"]
            assert [message.body[0] for message in told if message.body[0].startswith("a.")] == names


def test_a_refusal_is_told_in_the_words_of_the_other_side(private_bus: PrivateBus) -> None:
    with (
        closing(Bus(private_bus.address)) as bus,
        pytest.raises(Failed, match="does not understand message Juggle"),
    ):
        bus.call(BUS, "Juggle")


def test_a_daemon_that_has_gone_is_unreachable(over_dbus: ServedDaemon, private_bus: PrivateBus) -> None:
    with BusDaemon.connect(private_bus.address, start=False) as daemon:
        over_dbus.leave()
        with pytest.raises(Unreachable):
            daemon.efficiency()


def test_a_bus_that_stops_reading_is_noticed(private_bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Bus(private_bus.address)) as bus:
        monkeypatch.setattr(module, "CALL_S", 0.05)
        private_bus.pause()
        with pytest.raises(Unreachable, match="did not answer ListNames within"):
            bus.call(BUS, "ListNames")
        private_bus.resume()


def test_a_bus_that_ends_is_noticed(private_bus: PrivateBus) -> None:
    with closing(Bus(private_bus.address)) as bus:
        private_bus.stop()
        with pytest.raises(Unreachable, match="the bus"):
            bus.call(BUS, "ListNames")


@pytest.fixture
def impostor(tmp_path: Path) -> Callable[[bytes], str]:
    """Starts sockets that say this to the first who comes, and nothing more."""

    def start(says: bytes) -> str:
        path = tmp_path / "bus"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()

        def answer() -> None:
            with listening, listening.accept()[0] as caller:
                caller.recv(100)
                caller.sendall(says)
                caller.shutdown(socket.SHUT_WR)
                while caller.recv(1000):
                    pass

        threading.Thread(target=answer).start()
        return f"unix:path={path}"

    return start


@pytest.mark.parametrize(
    ("says", "complaint"),
    [
        (b"REJECTED EXTERNAL\r\n", "the bus refuses this user: REJECTED EXTERNAL"),
        (b"", "the bus has ended the connection"),
        (b"OK 1234\r\n" + b"l" * 16, "not a D-Bus message"),
        (b"OK 1234\r\nl\2\0\1\0\0\0\0\1\0\0\0\5\0\0\0abcdefgh", "not a D-Bus message"),
    ],
)
def test_what_is_no_bus_is_unreachable(impostor: Callable[[bytes], str], says: bytes, complaint: str) -> None:
    with pytest.raises(Unreachable, match=complaint):
        Bus(impostor(says))
