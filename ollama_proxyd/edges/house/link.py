"""The connection on which a paired machine tells how it is; its end is the news that the machine has left."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

import aiohttp

from ollama_proxyd.edges.house.places import joined
from ollama_proxyd.edges.plumbing.call import cause
from ollama_proxyd.edges.plumbing.machine_words import MOST_LINE_BYTES, MachineWords, read_machine
from ollama_proxyd.edges.plumbing.tcp import LATER, notice_loss, round_trip_s, socket_to

CONNECT_S = 5.0
STATUS_PATH = "/house/status"
_ALERT = " alert "
"""In OpenSSL's words for what the other side says in TLS (RFC 8446, 6)."""
_PAIR_AGAIN = "if it was set up anew or has unpaired this one, unpair it here and pair both again"


class LinkError(Exception):
    """There is no connection, or none any more; the message says why."""


async def follow(
    address: str, port: int, context: ssl.SSLContext, tell: Callable[[MachineWords, float | None], None]
) -> None:
    """Tell each word of a machine, with the round trip to it in seconds; raises LinkError at the end."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
    connector = aiohttp.TCPConnector(ssl=context, force_close=True, socket_factory=socket_to)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, read_bufsize=MOST_LINE_BYTES, trust_env=False
            ) as session,
            asyncio.timeout(2 * CONNECT_S) as begin,
            session.get(f"https://{joined(address, port)}{STATUS_PATH}", allow_redirects=False) as reply,
        ):
            begin.reschedule(None)
            if reply.status != 200 or reply.connection is None or reply.connection.transport is None:
                raise LinkError(f"it answered {reply.status}")
            connection = reply.connection.transport.get_extra_info("socket")
            notice_loss(connection, *LATER)
            while line := await reply.content.readline():
                tell(read_machine(line), round_trip_s(connection))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise LinkError(_why(error, joined(address, port))) from error
    raise LinkError("it has closed the connection")


class _Heard(Exception):  # noqa: N818 - it is no error
    """It is there."""


async def prove(address: str, port: int, context: ssl.SSLContext) -> None:
    """Return once a machine with its certificate has told something there; raises LinkError where none does."""

    def hear(*_: object) -> None:
        raise _Heard

    with suppress(_Heard):
        await follow(address, port, context, hear)


def _why(error: Exception, place: str) -> str:
    """What went wrong on the way, and what to do where that lasts."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"what answers at {place} has another certificate than the machine that was paired; {_PAIR_AGAIN}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"it cannot be reached at {place}: {cause(error.os_error)}"
    if _ALERT in cause(error):
        return f"it lets this machine in no more ({cause(error)}); {_PAIR_AGAIN}"
    if isinstance(error, aiohttp.ServerDisconnectedError):  # it may as well be ending, or have too many connections
        return f"it has closed the connection unanswered; {_PAIR_AGAIN}"
    return cause(error)
