"""Finds the engines on this machine: all known ports at once, recognised by their answers."""

import asyncio
import errno
import logging
import socket
from collections.abc import Iterable

import msgspec
from yarl import URL

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendSpec, Hardware
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.values import value
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.dialects.framing.lenient import loosely
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
PATIENT_LIMIT_S = 15.0
"""The same for one that was late, which is asked one thing after another."""

_AT_ONCE = 4
"""Python's http.server has a listen queue of 5; the kernel retries what does not fit only after a second."""


@value
class Detected:
    """An engine that was found, and how it was recognised, as a sentence."""

    spec: BackendSpec
    how: str


@value
class Look:
    """What a look at some ports has found, and those whose servers answered too late to be known."""

    found: tuple[Detected, ...] = ()
    late: frozenset[int] = frozenset()


async def detect(
    ports: Iterable[int] = KNOWN_PORTS, host: str = HOST, limit_s: float = LIMIT_S, at_once: int = _AT_ONCE
) -> Look:
    """The engines that answer on the ports within the limit, in the ports' order."""
    listening = [port for port in dict.fromkeys(ports) if not _refuses(host, port)]
    if not listening:
        return Look()
    client = HttpClient(Timeouts(connect_s=limit_s), Limits(body_bytes=4 * 1024 * 1024))
    try:
        roots = [URL.build(scheme="http", host=host, port=port) for port in listening]
        asked = (answers_of(client, root, f"port {root.port}", limit_s, at_once) for root in roots)
        seen = dict(zip(listening, await asyncio.gather(*asked), strict=True))
    finally:
        await client.close()
    known = {port: recognise(answers) for port, answers in seen.items()}
    found = (_detected(port, f"http://{host}:{port}", sign) for port, sign in known.items() if sign is not None)
    late = (port for port, answers in seen.items() if known[port] is None and None in answers.values())
    return Look(tuple(each for each in found if each is not None), frozenset(late))


async def detect_late(ports: Iterable[int]) -> Look:
    """The engines on ports whose servers were late."""
    return await detect(ports, limit_s=PATIENT_LIMIT_S, at_once=1)


def _refuses(host: str, port: int) -> bool:
    """Whether nothing listens there: on loopback the kernel says so at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        probe.connect_ex((host, port))
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


async def identify(client: HttpClient, root: URL, who: str, limit_s: float = LIMIT_S) -> tuple[Engine, Sign] | None:
    """The engine at an address, and the sign by which it is known.

    None when no known engine answers, or when an answer that could decide does not come within the limit.
    """
    return recognise(await answers_of(client, root, who, limit_s))


async def answers_of(
    client: HttpClient, root: URL, who: str, limit_s: float, at_once: int = _AT_ONCE
) -> dict[str, Answer | None]:
    """What a server answers by path, each None that does not come within the limit."""
    due_s = asyncio.get_running_loop().time() + limit_s
    answers: dict[str, Answer | None] = {"/": await _ask(client, root, "/", who, due_s)}
    if answers["/"] is None:
        return answers
    turns = asyncio.Semaphore(at_once)

    async def ask(path: str) -> None:
        async with turns:
            answers[path] = await _ask(client, root, path, who, due_s)

    await asyncio.gather(*(ask(path) for path in PATHS if path != "/"))
    return answers


def _detected(port: int, endpoint: str, known: tuple[Engine, Sign]) -> Detected | None:
    """The engine as a backend, None for one that never becomes one."""
    engine, sign = known
    if engine.api is None:
        log.debug("port %d: %s", port, sign.words)
        return None
    spec = BackendSpec(
        id=f"{engine.name}-{port}",
        name=f"{engine.label} on port {port}",
        api=engine.api,
        endpoint=endpoint,
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
    return Answer(reply.status, headers, body.decode("utf-8", "replace"), _json_in(body))


def _json_in(body: bytes) -> Json:
    """What a server says, None where it is no JSON."""
    told = readable(_JSON, body)
    return loosely(body) if told is None else told
