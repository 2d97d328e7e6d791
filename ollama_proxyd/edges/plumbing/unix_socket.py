"""Connections to servers behind Unix sockets, and who they are (unix(7))."""

import asyncio
import socket
from typing import Final

from ollama_proxyd.edges.plumbing.peers import pid_behind

MOST_PATH_BYTES: Final = 107
"""`sun_path` has 108, the last of which is 0."""
_AGAIN_S: Final = 0.005
"""Until a server whose queue of new connections is full is asked again: no signal tells that it has room."""


async def connected(path: str) -> socket.socket:
    """A connection, made as soon as the server has room for one more; raises OSError.

    The kernel refuses at once where the queue is full, which asyncio takes for a connection that is being made.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        while True:
            try:
                made.connect(path)
            except BlockingIOError:
                await asyncio.sleep(_AGAIN_S)
            else:
                return made
    except BaseException:
        made.close()
        raise


def pid_listening(path: str) -> int | None:
    """The process that listens at a path; None where none does, or its queue is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as made:
        try:
            made.connect(path)
        except OSError:
            return None
        return pid_behind(made)
