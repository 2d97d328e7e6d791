"""Finding the engines on this machine: all known ports at once, recognised by their answers."""

import asyncio
import errno
import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from yarl import URL

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import BackendSpec, Hardware
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.backends.fingerprints import PATHS, Answer, Fingerprint, recognise
from ollama_proxyd.edges.backends.flavors import FLAVORS
from ollama_proxyd.edges.plumbing.http import Call, HttpClient, Timeouts
from ollama_proxyd.edges.plumbing.http_reply import Limits

log = logging.getLogger(__name__)

KNOWN_PORTS = (
    *(11434, 11435, 11436, 11437),  # Ollama, and further instances of it
    *(8080, 8081, 8082, 8083),  # llama-server, LocalAI, mlx_lm.server
    *(8000, 8001),  # vLLM, OpenVINO Model Server, llama-cpp-python, transformers
    *(1234, 13305, 52625),  # LM Studio, Lemonade, FastFlowLM
    *(5001, 5000, 30000, 23333, 12434, 4891, 1337),  # KoboldCpp, webui, SGLang, LMDeploy, Docker, GPT4All, Jan
)
HOST = "127.0.0.1"
_CONNECT_S = 0.15
_GREETING_S = 0.3
_ANSWER_S = 0.5
_TOTAL_S = 0.95


@dataclass(frozen=True, slots=True)
class Detected:
    """An engine that was found, and how it was recognised, as a sentence."""

    spec: BackendSpec
    how: str


async def detect(ports: Iterable[int] = KNOWN_PORTS, host: str = HOST) -> tuple[Detected, ...]:
    """The engines that answer on the ports, in the ports' order, in under a second."""
    listening = [port for port in dict.fromkeys(ports) if not _refuses(host, port)]
    if not listening:
        return ()
    client = HttpClient(
        Timeouts(connect_s=_CONNECT_S, first_byte_s=_ANSWER_S, idle_s=_ANSWER_S), Limits(body_bytes=4 * 1024 * 1024)
    )
    try:
        found = await asyncio.gather(*(_look(client, host, port) for port in listening))
    finally:
        await client.close()
    return tuple(each for each in found if each is not None)


def _refuses(host: str, port: int) -> bool:
    """Whether surely nobody listens there: a kernel's word about itself is there at once, with nothing to wait for."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        probe.connect_ex((host, port))
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


async def identify(client: HttpClient, root: URL, who: str) -> Fingerprint | None:
    """The sign by which the engine at an address is known; None when it does not answer, or like no known engine."""
    greeting = await _ask(client, root, "/", who, _GREETING_S)
    if greeting is None:
        return None
    others = tuple(path for path in PATHS if path != "/")
    answers = await asyncio.gather(*(_ask(client, root, path, who, _ANSWER_S) for path in others))
    said = {"/": greeting} | {path: answer for path, answer in zip(others, answers, strict=True) if answer is not None}
    return recognise(said)


async def _look(client: HttpClient, host: str, port: int) -> Detected | None:
    try:
        async with asyncio.timeout(_TOTAL_S):
            return await _examine(client, host, port)
    except TimeoutError:
        log.debug("port %d: its answers take too long", port)
        return None


async def _examine(client: HttpClient, host: str, port: int) -> Detected | None:
    root = URL.build(scheme="http", host=host, port=port)
    found = await identify(client, root, f"port {port}")
    if found is None or found.kind is None:
        log.debug("port %d: %s", port, found.sign if found else "no engine that we know answers")
        return None
    label = "Ollama" if found.flavor == "ollama" else FLAVORS[found.flavor].label
    spec = BackendSpec(
        id=f"{found.flavor}-{port}",
        name=f"{label} on port {port}",
        api=found.kind,
        endpoint=f"http://{host}:{port}",
        hardware=Hardware.UNKNOWN,
        flavor=found.flavor,
    )
    how = f"{spec.id} was recognised as {label} because {found.sign}; which device it runs on is not known"
    return Detected(spec, how)


async def _ask(client: HttpClient, root: URL, path: str, who: str, wait_s: float) -> Answer | None:
    """The answer to one GET; None when none came that is worth reading."""
    call = Call("GET", root.with_path(path), who, first_byte_s=wait_s, keeps=False)
    try:
        async with client.ask(call) as reply:
            body = await reply.body()
    except ProxyError as error:
        # An answer that is no answer (a redirect, a body without end) still shows that something listens.
        return Answer(error.status) if error.status is not None else None
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return Answer(reply.status, headers, body.decode("utf-8", "replace"), _decoded(body))


def _decoded(body: bytes) -> Json:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
