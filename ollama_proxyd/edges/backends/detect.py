"""Finds the engines on this machine: all known ports at once, recognised by their answers."""

import asyncio
import errno
import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from yarl import URL

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendSpec, Hardware
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.edges.backends.engine import Answer, Engine, Sign
from ollama_proxyd.edges.backends.engines import KNOWN_PORTS, PATHS, recognise
from ollama_proxyd.edges.plumbing.call import Call
from ollama_proxyd.edges.plumbing.http import HttpClient, Timeouts
from ollama_proxyd.edges.plumbing.http_reply import Limits

log = logging.getLogger(__name__)
_JSON = msgspec.json.Decoder()

HOST = "127.0.0.1"
LIMIT_S = 0.95
"""How long a server has for all its answers."""

_AT_ONCE = 4
"""Python's http.server has a listen queue of 5; the kernel retries what does not fit only after a second."""


@dataclass(frozen=True, slots=True)
class Detected:
    """An engine that was found, and how it was recognised, as a sentence."""

    spec: BackendSpec
    how: str


async def detect(
    ports: Iterable[int] = KNOWN_PORTS, host: str = HOST, limit_s: float = LIMIT_S
) -> tuple[Detected, ...]:
    """The engines that answer on the ports within the limit, in the ports' order."""
    listening = [port for port in dict.fromkeys(ports) if not _refuses(host, port)]
    if not listening:
        return ()
    client = HttpClient(Timeouts(connect_s=limit_s), Limits(body_bytes=4 * 1024 * 1024))
    try:
        found = await asyncio.gather(*(_look(client, host, port, limit_s) for port in listening))
    finally:
        await client.close()
    return tuple(each for each in found if each is not None)


def _refuses(host: str, port: int) -> bool:
    """Whether nothing listens there: on loopback the kernel says so at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        probe.connect_ex((host, port))
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


async def identify(client: HttpClient, root: URL, who: str, limit_s: float = LIMIT_S) -> tuple[Engine, Sign] | None:
    """The engine at an address, and the sign by which it is known.

    None when no known engine answers, or when an answer that could decide does not come within the limit.
    """
    due_s = asyncio.get_running_loop().time() + limit_s
    answers: dict[str, Answer | None] = {"/": await _ask(client, root, "/", who, due_s)}
    if answers["/"] is None:
        return None
    turns = asyncio.Semaphore(_AT_ONCE)

    async def ask(path: str) -> None:
        async with turns:
            answers[path] = await _ask(client, root, path, who, due_s)

    await asyncio.gather(*(ask(path) for path in PATHS if path != "/"))
    return recognise(answers)


async def _look(client: HttpClient, host: str, port: int, limit_s: float) -> Detected | None:
    root = URL.build(scheme="http", host=host, port=port)
    found = await identify(client, root, f"port {port}", limit_s)
    if found is None:
        log.debug("port %d: no known engine answers in time", port)
        return None
    engine, sign = found
    if engine.api is None:
        log.debug("port %d: %s", port, sign.words)
        return None
    spec = BackendSpec(
        id=f"{engine.name}-{port}",
        name=f"{engine.label} on port {port}",
        api=engine.api,
        endpoint=f"http://{host}:{port}",
        hardware=Hardware.UNKNOWN,
        flavor=engine.name,
    )
    how = f"{spec.id} was recognised as {engine.label} because {sign.words}; which device it runs on is not known"
    return Detected(spec, how)


async def _ask(client: HttpClient, root: URL, path: str, who: str, due_s: float) -> Answer | None:
    """The answer to one GET, with status 0 for a failure; None when it does not come in time."""
    left_s = due_s - asyncio.get_running_loop().time()
    if left_s <= 0:
        return None
    call = Call("GET", root.with_path(path), who, first_byte_s=left_s, keeps=False)
    try:
        async with asyncio.timeout(left_s), client.ask(call) as reply:
            body = await reply.body()
    except TimeoutError:
        return None
    except ProxyError as error:
        # An answer that is no answer (a redirect, a body without end) still shows that something listens.
        return None if error.kind is ErrorKind.UPSTREAM_TIMEOUT else Answer(error.status or 0)
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return Answer(reply.status, headers, body.decode("utf-8", "replace"), readable(_JSON, body))
