"""Who is at the other end of a loopback connection, asked of the kernel."""

import asyncio
import http.client
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from ollama_proxyd.edges.plumbing.peers import Owner, Place, is_hidden, owner_by_netlink, owner_by_table, place_of
from tests.edges.http_api.conftest import Serve

STRANGER = 65534
WAYS = (owner_by_netlink, owner_by_table)
HOSTS = ("127.0.0.1", "127.0.0.5", "::1")


@contextmanager
def connected(host: str) -> Iterator[tuple[socket.socket, Place, Place]]:
    """The client's socket, and both places as the server sees them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as listener,
        socket.create_connection(listener.getsockname()[:2]) as client,
    ):
        accepted, peer = listener.accept()
        with accepted:
            here, there = place_of(accepted.getsockname()), place_of(peer)
            assert here is not None
            assert there is not None
            yield client, there, here


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("host", HOSTS)
def test_the_user_of_a_connection_is_found(way: Callable[[Place, Place], Owner | None], host: str) -> None:
    with connected(host) as (_, peer, own):
        owner = way(peer, own)
        assert owner is not None
        assert owner.uid == os.geteuid()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("host", HOSTS)
def test_a_socket_that_its_owner_has_closed_is_not_roots(
    way: Callable[[Place, Place], Owner | None], host: str
) -> None:
    with connected(host) as (client, peer, own):
        client.close()
        assert way(peer, own) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_does_not_exist_has_no_user(way: Callable[[Place, Place], Owner | None]) -> None:
    with connected("127.0.0.1") as (_, peer, own):
        assert way(peer._replace(port=1), own) is None


def test_an_ipv4_address_in_ipv6_is_one_of_ipv4() -> None:
    assert place_of(("::ffff:127.0.0.1", 5, 0, 0)) == (socket.AF_INET, "127.0.0.1", 5)


def processor_s(work: Callable[[], object]) -> float:
    """The processor time of doing it many times."""
    before_s = time.process_time()
    for _ in range(200):
        work()
    return time.process_time() - before_s


def test_asking_the_kernel_costs_less_than_the_connection_itself() -> None:
    def connect() -> None:
        with connected("127.0.0.1"):
            pass

    with connected("127.0.0.1") as (_, peer, own):
        assert processor_s(lambda: owner_by_netlink(peer, own)) < processor_s(connect)


def ask_as_stranger(pipe: Connection, host: str, port: int, paths: Sequence[str]) -> None:
    os.setgroups([])
    os.setuid(STRANGER)
    answers = []
    for path in paths:
        client = http.client.HTTPConnection(host, port, timeout=20)
        client.request("POST" if path.startswith(("/v1", "/api", "//api")) else "GET", path, b"{}")
        reply = client.getresponse()
        answers.append(f"{reply.status} {reply.read().decode().strip()}")
        client.close()
    pipe.send(answers)
    os._exit(0)


def as_stranger(host: str, port: int, paths: Sequence[str]) -> list[str]:
    """The answers that another user of this machine gets."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    process = fork.Process(target=ask_as_stranger, args=(theirs, host, port, paths))
    process.start()
    answers: list[str] = ours.recv() if ours.poll(20) else []
    process.join()
    return answers


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_another_user_is_refused_in_the_words_of_each_api_and_learns_nothing(serve: Serve, host: str) -> None:
    site = await serve()
    paths = ("/status", "/v1/chat/completions", "/api/chat", "/dashboard", "//api//chat/", "/healthz", "/readyz")
    answers = await asyncio.to_thread(as_stranger, host, site.server.port, paths)
    *refused, alive, ready = answers
    assert len(refused) == 5
    assert all(line.startswith("403 ") and "belongs to another user of this machine" in line for line in refused)
    assert '"type":' in refused[1]
    assert refused[2].startswith('403 {"error":"this server belongs')
    assert [alive, ready] == ["200 ok", "200 ready"]


@pytest.mark.parametrize(
    ("uid_map", "is_hiding"), [("0 0 4294967295", False), ("1000 1000 1", True), ("0 100000 65536", True)]
)
def test_in_a_sandbox_that_maps_this_user_alone_the_other_users_are_hidden(
    tmp_path: Path, uid_map: str, is_hiding: bool
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/uid_map").write_text(f"{uid_map}\n")
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/overflowuid").write_text("65534\n")
    assert is_hidden(65534, tmp_path) == is_hiding
    assert not is_hidden(1000, tmp_path)
    assert not is_hidden(65534, tmp_path / "nowhere")
