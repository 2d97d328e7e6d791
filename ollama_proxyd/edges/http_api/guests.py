"""What paired machines may ask: inference on one backend of this machine, and how this machine is."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import BackendView
from ollama_proxyd.core.frontends import Frontend
from ollama_proxyd.core.kin import learned
from ollama_proxyd.core.policy.priors import CLASS_PRIORS, known_power_w
from ollama_proxyd.core.programs import Asker, of_user_agent
from ollama_proxyd.core.readings import known
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.edges.http_api import ollama, openai, passed
from ollama_proxyd.edges.http_api.access import CALLER, PEERS, RULES
from ollama_proxyd.edges.http_api.context import FRONTEND, SERVED, SERVICES, SETTINGS, services_of
from ollama_proxyd.edges.http_api.expect_continue import deferred
from ollama_proxyd.edges.http_api.frontends import ENTRANCES, Entrances
from ollama_proxyd.edges.http_api.middleware import front
from ollama_proxyd.edges.http_api.programs import PROGRAMS, Programs
from ollama_proxyd.edges.http_api.protocol import MOST_HEADER_BYTES, Runner, protocol_log
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.http_api.written import complete
from ollama_proxyd.edges.plumbing.access import AccessRules, Caller, host_name
from ollama_proxyd.edges.plumbing.machine_words import MOST_BACKENDS, BackendWords, MachineWords, ModelWords
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.watching import first_of

KEEP_ALIVE_S = 75.0
LAST_WORDS_S = 1.0
NEWS_S = 1.0
"""News are told at most so often."""


class Guests(Protocol):
    """Who may come, and what they may use."""

    changed: Cell[int]
    """Another number whenever they may use something else, or someone else may come."""

    def name_of(self, fingerprint: str) -> str | None:
        """What the machine of a certificate is called; None where it is not paired."""

    def admit(self, name: str) -> None:
        """Count a request; raises ProxyError where it is one too many in this minute."""

    def why_not(self, view: BackendView) -> Reason | None:
        """Why a backend is not shared now; None where it is."""


GUESTS: web.AppKey[Guests] = web.AppKey("guests", Guests)


class _Entrance(Entrances):
    """Notes who has come: a machine is a front end that sees one backend."""

    def __init__(self, settings: ServerSettings, services: Services, guests: Guests) -> None:
        super().__init__(settings, ())
        self._services = services
        self._guests = guests

    def enter(self, request: web.Request) -> None:
        """See Entrances; raises ProxyError."""
        name = _name_of(request, self._guests)
        if name is None:
            raise ProxyError(ErrorKind.FORBIDDEN, "this machine is not paired with that one", code="not_paired")
        self._guests.admit(name)
        backend_id = request.match_info.get("backend")
        if backend_id is not None:
            self._check(backend_id)
        request[FRONTEND] = Frontend(f"house-{name}", backends=() if backend_id is None else (backend_id,))
        hosts = request.headers.getall("Host", ())
        request[CALLER] = Caller(hosts, request.headers.getall("Origin", ()))
        request[RULES] = AccessRules((host_name(hosts),))

    def _check(self, backend_id: str) -> None:
        fleet = self._services.fleet
        if not fleet.has(backend_id):
            raise ProxyError(ErrorKind.UNAVAILABLE, f"there is no backend {backend_id[:64]!r} here", code="not_shared")
        if (why := self._guests.why_not(fleet.view(backend_id))) is not None:
            raise ProxyError(ErrorKind.UNAVAILABLE, str(why), code="not_shared")


class _Machines(Programs):
    """Who asks is a machine; which of its programs is not told."""

    async def of(self, request: web.Request, settings: ServerSettings) -> Asker:  # noqa: ARG002 - see Programs
        """See Programs."""
        return Asker(of_user_agent(request[FRONTEND].name))


def _name_of(request: web.Request, guests: Guests) -> str | None:
    """Who asks; looked up for each request, for a machine may have been unpaired meanwhile."""
    tls = None if request.transport is None else request.transport.get_extra_info("ssl_object")
    certificate = None if tls is None else tls.getpeercert(True)
    return None if certificate is None else guests.name_of(sha256(certificate).hexdigest())


async def tell(request: web.Request) -> web.StreamResponse:
    """Lines: this machine as it is now, then whenever that is news."""
    services, guests = services_of(request), request.app[GUESTS]
    reply = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await reply.prepare(request)
    last = b""
    while _name_of(request, guests) is not None:
        cells: tuple[Cell[Any], ...] = (
            services.fleet.views,
            services.system,
            services.governor.setting,
            guests.changed,
        )
        seen = [each.value for each in cells]
        line = msgspec.json.encode(words(services, guests.why_not)) + b"\n"
        if line != last:
            await reply.write(line)
            last = line
        await first_of(*(each.until(_other_than(was)) for each, was in zip(cells, seen, strict=True)))
        await asyncio.sleep(NEWS_S)
    return reply


def _other_than(was: object) -> Callable[[object], bool]:
    return lambda now: now is not was


def words(services: Services, why_not: Callable[[BackendView], Reason | None]) -> MachineWords:
    """What this machine tells of itself: its own backends alone."""
    system = services.system.value
    own = [view for view in services.fleet.views.value if view.spec.machine is None and view.spec.tariff is None]
    return MachineWords(
        [_backend(view, why_not(view)) for view in own[:MOST_BACKENDS]],
        known(system.on_battery),
        known(system.battery_percent),
    )


def _backend(view: BackendView, why_not: Reason | None) -> BackendWords:
    power_w = known_power_w(view)
    best = max(learned(view.speeds).values(), key=lambda each: each.samples, default=None)
    profile = view.spec.profile
    return BackendWords(
        id=view.spec.id,
        name=view.spec.name[:256],
        hardware=view.spec.hardware.value,
        slots=min(max(view.slots, 1), 1024),
        power_w=CLASS_PRIORS[view.spec.hardware].power_w if power_w is None else power_w,
        models=[] if why_not else _models(view),
        loaded=None if view.loaded is None or why_not else [each.name for each in view.loaded][:512],
        ttft_s=profile.ttft_s if best is None else best.ttft_s,
        decode_tps=profile.decode_tps if best is None else best.decode_tps,
        why_not=None if why_not is None else str(why_not)[:256],
    )


def _models(view: BackendView) -> list[ModelWords]:
    return [
        ModelWords(
            each.name,
            each.size_bytes,
            each.digest,
            each.family,
            each.parameter_size,
            each.quantization,
            each.context_length,
            None if each.capabilities is None else sorted(each.capabilities),
        )
        for each in view.models[:512]
    ]


_SHOW = web.post("/api/show", ollama.show)
_ASKED = (*openai.INFERENCE, *ollama.INFERENCE, *passed.INFERENCE, _SHOW)
_AT = tuple(web.RouteDef(each.method, f"/at/{{backend}}{each.path}", each.handler, {}) for each in _ASKED)
_TELL = web.get("/house/status", tell)


def guests_runner(main: web.Application, guests: Guests) -> Runner:
    """What serves paired machines; the bounds of bodies are those of the main server, shared with it."""
    app = web.Application(middlewares=[front])
    for key in main:
        if isinstance(key, web.AppKey):
            app[key] = main[key]
    app[GUESTS] = guests
    app[PROGRAMS] = _Machines(main[PEERS])
    app[ENTRANCES] = Cell[Entrances | None](_Entrance(main[SETTINGS].value, main[SERVICES], guests))
    app[SERVED] = frozenset(each.handler for each in (*_AT, _TELL))
    app.on_response_prepare.append(complete)
    app.add_routes(deferred((*_AT, _TELL)))
    return Runner(
        app,
        handler_cancellation=True,
        logger=protocol_log(),
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=KEEP_ALIVE_S,
        max_field_size=MOST_HEADER_BYTES,
        shutdown_timeout=LAST_WORDS_S,
    )
