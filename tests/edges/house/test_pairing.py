"""Pairing: who knows the code gets the certificate, once; who does not learns nothing."""

import asyncio
import contextlib
import errno
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ollama_proxyd.core.house import Peer
from ollama_proxyd.edges.house import pairing
from ollama_proxyd.edges.house.card import Card, peer_of
from ollama_proxyd.edges.house.identity import Identity, identity_in, write_private
from ollama_proxyd.edges.house.paired import Paired
from ollama_proxyd.edges.house.pairing import MOST_AT_ONCE, MOST_BYTES, Host, WrongCodeError, join
from tests.free_ports import free_port

CODE = "12345678"


class Machine:
    """One side of a pairing."""

    def __init__(self, folder: Path, name: str) -> None:
        self.identity: Identity = identity_in(folder / name)
        self.card = Card(self.identity.certificate, name, 11484)
        self.met: list[Peer] = []
        self.wrong = 0

    async def meet(self, peer: Peer) -> None:
        self.met.append(peer)

    def fail(self) -> None:
        self.wrong += 1


@pytest.fixture
def desktop(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "desktop")


@pytest.fixture
def laptop(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "laptop")


@asynccontextmanager
async def shown(machine: Machine, meet: Callable[[Peer], Awaitable[None]] | None = None) -> AsyncIterator[int]:
    port = free_port()
    host = Host(CODE, machine.card, meet or machine.meet, machine.fail)
    await host.open(port)
    yield port
    await host.close()


async def test_the_code_exchanges_certificates(desktop: Machine, laptop: Machine) -> None:
    async with shown(desktop) as port:
        peer = await join(CODE, "127.0.0.1", port, laptop.card)
    assert (peer.name, peer.fingerprint) == ("desktop", desktop.identity.fingerprint)
    (met,) = desktop.met
    assert (met.name, met.fingerprint) == ("laptop", laptop.identity.fingerprint)
    assert met.address == peer.address == "127.0.0.1"


async def test_a_wrong_code_counts_and_exchanges_nothing(desktop: Machine, laptop: Machine) -> None:
    async with shown(desktop) as port:
        with pytest.raises(WrongCodeError):
            await join("87654321", "127.0.0.1", port, laptop.card)
    assert (desktop.met, desktop.wrong) == ([], 1)


async def test_who_shows_a_wrong_code_is_not_trusted(desktop: Machine, laptop: Machine) -> None:
    left = asyncio.Event()

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = await reader.readexactly(37)  # our own message sent back
        writer.write(theirs)
        await reader.read(MOST_BYTES)
        writer.write(b"\x00\x00\x00\x40" + bytes(64))
        writer.close()
        left.set()

    server = await asyncio.start_server(impostor, "127.0.0.1", port := free_port())
    async with server:
        with pytest.raises((WrongCodeError, ValueError, OSError)):
            await join(CODE, "127.0.0.1", port, laptop.card)
        await asyncio.wait_for(left.wait(), 20)


async def test_what_cannot_be_kept_is_not_answered(desktop: Machine, laptop: Machine) -> None:
    async def full(_: Peer) -> None:
        raise ValueError("too many")

    async with shown(desktop, full) as port:
        with pytest.raises(WrongCodeError):
            await join(CODE, "127.0.0.1", port, laptop.card)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x21B" + bytes(32),
        b"\x00\x00\x00\x21A" + bytes(32),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_odd_bytes_neither_count_nor_end_the_pairing(sent: bytes, desktop: Machine, laptop: Machine) -> None:
    async with shown(desktop) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert desktop.wrong == 0
        assert (await join(CODE, "127.0.0.1", port, laptop.card)).name == "desktop"


async def test_few_try_at_the_same_time(desktop: Machine, laptop: Machine) -> None:
    async with shown(desktop) as port:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_AT_ONCE)]
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 20) == b""
        for _, each in idle:
            each.close()
        writer.close()


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no room"):
        write_private(tmp_path / "key.pem", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_machine_keeps_its_key_for_itself(tmp_path: Path) -> None:
    own = identity_in(tmp_path / "house")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "house").iterdir()} == {0o600}
    assert (tmp_path / "house").stat().st_mode & 0o777 == 0o700
    assert identity_in(tmp_path / "house") == own


def test_the_certificate_tells_nothing_of_its_machine(desktop: Machine) -> None:
    import socket

    der = ssl.PEM_cert_to_DER_cert(desktop.identity.certificate)
    assert socket.gethostname().encode() not in der
    assert b"desktop" not in der


async def test_paired_machines_are_kept(tmp_path: Path, laptop: Machine) -> None:
    peer = Peer(laptop.identity.fingerprint, "laptop", laptop.identity.certificate, "10.0.0.2", 11484)
    await Paired(tmp_path / "peers.json").add(peer)
    kept = Paired(tmp_path / "peers.json")
    kept.read()
    assert kept.peers == (peer,)
    assert (tmp_path / "peers.json").stat().st_mode & 0o777 == 0o600
    await kept.remove(peer)
    kept.read()
    assert kept.peers == ()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format":2,"peers":[]}', b"\xff"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "peers.json").write_bytes(content)
    with pytest.raises(ValueError, match=r".*"):
        Paired(tmp_path / "peers.json").read()


@pytest.mark.parametrize(
    "card", [b"", b"{}", b'{"certificate":"x","name":"a","port":1}', b'{"certificate":"","name":"../x","port":1}']
)
def test_a_card_of_something_else_is_refused(card: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        peer_of(card, "10.0.0.2")


async def test_a_connection_that_has_ended_before_a_word_is_told_as_such() -> None:
    async with await asyncio.start_server(lambda _, writer: writer.transport.abort(), "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.transport.abort()
        with pytest.raises(EOFError):
            await pairing._write(writer, b"hello")
