"""The event loop of the daemon."""

import subprocess
import sys

import pytest

THREADS_FOR_A_CONNECTION = """
import asyncio, os, socket, uvloop
from ollama_proxyd.app.loop import Loop

async def connect():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, server.getsockname())
        assert client.getpeername() == server.getsockname()
    print(len(os.listdir("/proc/self/task")))

with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(connect())
"""
NAMES = """
import asyncio, socket
from ollama_proxyd.app.loop import Loop

async def ask():
    found = await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    assert found and all(kind is socket.SOCK_STREAM for _, kind, *_ in found), found
    found = await asyncio.get_running_loop().getaddrinfo("localhost", 80, type=socket.SOCK_DGRAM)
    assert found and all(kind is socket.SOCK_DGRAM for _, kind, *_ in found), found

with asyncio.Runner(loop_factory=Loop) as runner:
    runner.run(ask())
"""


def output_of(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("loop", "asks_no_thread"), [("Loop", True), ("uvloop.new_event_loop", False)])
def test_an_address_in_numbers_is_connected_to_without_a_thread_unlike_by_plain_uvloop(
    loop: str, asks_no_thread: bool
) -> None:
    threads = int(output_of(THREADS_FOR_A_CONNECTION.replace("LOOP", loop)))
    assert (threads == 1) is asks_no_thread


def test_names_are_still_resolved_and_other_kinds_of_sockets_too() -> None:
    output_of(NAMES)
