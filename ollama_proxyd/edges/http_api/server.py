"""The HTTP server: its routes, and its life from the first listening to the last answer."""

import asyncio
import errno
import socket
from collections.abc import Sequence

from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.frontend_settings import FrontendSettings
from ollama_proxyd.edges.http_api import (
    admin,
    admin_callers,
    admin_work,
    anthropic,
    api_page,
    efficiency,
    energy,
    engine_log,
    engines,
    explain,
    features,
    house,
    machine,
    management,
    metrics,
    modeld,
    ollama,
    openai,
    pages,
    passed,
    porpulsion,
    quant_advice,
    renderer,
    requests,
    responses,
    status,
    websocket,
)
from ollama_proxyd.edges.http_api.access import ACCESS, PEERS, rules
from ollama_proxyd.edges.http_api.bodies import BODIES, Bodies
from ollama_proxyd.edges.http_api.context import ADMIN, ENDPOINT, HOUSE, LARGE_BODIES, SERVED, SERVICES, SETTINGS, begin
from ollama_proxyd.edges.http_api.errors import RENDERERS, ErrorRenderers
from ollama_proxyd.edges.http_api.expect_continue import deferred
from ollama_proxyd.edges.http_api.frontends import ENTRANCES, KEPT, Entrances, no_responses
from ollama_proxyd.edges.http_api.listening import Site, bound, on_ipv6
from ollama_proxyd.edges.http_api.middleware import front
from ollama_proxyd.edges.http_api.programs import PROGRAMS, Programs
from ollama_proxyd.edges.http_api.protocol import MOST_HEADER_BYTES, Runner, protocol_log
from ollama_proxyd.edges.http_api.settings import ServerSettings, client_url
from ollama_proxyd.edges.http_api.status_events import EVENT_STREAMS, EventStreams
from ollama_proxyd.edges.http_api.written import complete
from ollama_proxyd.edges.plumbing.access import LOOPBACK_NAMES, AccessRules
from ollama_proxyd.edges.plumbing.peers import Peers
from ollama_proxyd.edges.plumbing.port_owner import port_owner
from ollama_proxyd.services.admin import Admin
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.cell import Cell
from ollama_proxyd.services.ports import House

_DOORS = (openai, passed, modeld, responses, ollama, management, anthropic)
"""The modules of routes that are routed to engines."""
_STATE = (efficiency, energy, status, machine, requests, explain, porpulsion, quant_advice, features)
_OWN = (admin, admin_work, house, websocket, *_STATE, engines, engine_log, pages, renderer, api_page)
_AT_FRONTENDS = tuple(each for each in _DOORS if each is not management)
LAST_WORDS_S = 1.0
"""How long broken-off answers get to tell their clients."""
LINGER_S = 2.0
"""How long a refused body is still read, so that the client reads the reason."""


def build_app(services: Services, settings: ServerSettings) -> web.Application:
    """Every route of the API over the services."""
    app = web.Application(middlewares=[front], client_max_size=settings.max_body_bytes)
    app[SERVICES] = services
    app[SETTINGS] = Cell(settings)
    app[ACCESS] = Cell(rules(settings))
    app[ENTRANCES] = Cell[Entrances | None](None)
    app[ADMIN] = Cell[Admin | None](None)
    app[HOUSE] = Cell[House | None](None)
    app[status.GRPC_ENDPOINT] = Cell[str | None](None)
    app[PEERS] = peers = Peers()
    app[PROGRAMS] = Programs(peers)
    app[BODIES] = Bodies()
    begin(app)
    app[EVENT_STREAMS] = EventStreams()
    app.on_response_prepare.append(complete)
    app[renderer.RENDERER] = renderer.Renderer()
    app.on_shutdown.append(efficiency.end_holds)
    app.on_cleanup.append(renderer.end)
    app[LARGE_BODIES] = frozenset(route.handler for each in _DOORS for route in each.INFERENCE)
    app[RENDERERS] = _error_renderers()
    app[KEPT] = no_responses()
    served = {route.handler for each in (*_AT_FRONTENDS, websocket, explain) for route in each.ROUTES}
    app[SERVED] = frozenset(served | {status.alive, status.ready, status.version})
    for each in (*_DOORS, *_OWN):
        app.add_routes(deferred(each.ROUTES))
    if settings.serve_metrics:
        metrics.add_to(app, services)
    return app


def _error_renderers() -> ErrorRenderers:
    """Each route's errors in the words of its API."""
    renderers = ErrorRenderers()
    renderers.add(openai.DIALECT, (*openai.ROUTES, *passed.ROUTES, *responses.ROUTES, *websocket.ROUTES))
    of_ollama = (ollama, management, porpulsion, quant_advice, features)
    renderers.add(ollama.DIALECT, [route for each in of_ollama for route in each.ROUTES])
    renderers.add(modeld.DIALECT, modeld.ROUTES)
    renderers.use(admin.RENDERER, admin_callers.PREFIX, (*admin.ROUTES, *admin_work.ROUTES))
    return renderers


class HttpServer:
    """Listens from `start` to `stop`."""

    def __init__(self, services: Services, settings: ServerSettings) -> None:
        self._settings = settings
        self._app = build_app(services, settings)
        self._runner = Runner(
            self._app,
            handler_cancellation=True,  # a client that leaves ends the work for it
            logger=protocol_log(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=settings.keep_alive_s,
            lingering_time=LINGER_S,
            max_field_size=MOST_HEADER_BYTES,
            shutdown_timeout=LAST_WORDS_S,
        )
        self._app[ENDPOINT] = lambda: self.url
        self._given: tuple[socket.socket, ...] = ()
        self._is_activated = False
        self._bound: list[socket.socket] = []
        """Where nothing is accepted yet."""
        self._sites: list[Site] = []
        self._frontend_sites: dict[int | str, list[Site]] = {}

    @property
    def app(self) -> web.Application:
        """All that its handlers find."""
        return self._app

    @property
    def rules(self) -> Cell[AccessRules]:
        """Whom it lets in."""
        return self._app[ACCESS]

    @property
    def port(self) -> int:
        """The port in use, once started; the configured one before, or where there is none."""
        ports = [each[1] for each in self._own_addresses() if isinstance(each, tuple)]
        return ports[0] if ports else self._settings.port

    @property
    def url(self) -> str:
        """Where a client on this machine finds the server; the configured place before it has begun."""
        addresses = self._own_addresses()
        places = [each for each in addresses if isinstance(each, tuple)]
        if places:
            name, port = places[0][:2]
            own = name if self._is_activated else self._settings.host  # a name says more than what it stands for
            return client_url(own, port)
        files = [each for each in addresses if isinstance(each, str)]
        return f"unix:{files[0]}" if files else client_url(self._settings.host, self._settings.port)

    def _own_addresses(self) -> list[object]:
        """What it listens on that is no front end's."""
        addresses = self._runner.addresses
        return [
            each for each in addresses if (each[1] if isinstance(each, tuple) else each) not in self._frontend_sites
        ]

    @property
    def addresses(self) -> Sequence[object]:
        """What it listens on, as sockets name it."""
        return self._runner.addresses

    @property
    def connections(self) -> int:
        """Connections of clients that are open."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    @property
    def requests(self) -> int:
        """Requests that have come so far."""
        server = self._runner.server
        return 0 if server is None else server.requests_count

    async def bind(self) -> None:
        """Take the configured address; connections wait there until the start. Raises ProxyError where it is taken."""
        host, port = self._settings.host, self._settings.port
        find = asyncio.get_running_loop().getaddrinfo
        try:
            sockets = bound(await find(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
        except OSError as error:
            raise _cannot_listen(self._settings, error) from error
        self._bound = [*sockets, *(on_ipv6(sockets) if host in LOOPBACK_NAMES else ())]

    async def start(self, given: Sequence[socket.socket] = (), extra: Sequence[socket.socket] = ()) -> None:
        """Begin to accept; raises ProxyError with a sentence that says why it cannot.

        given: sockets to accept on instead of the configured address. extra: sockets to accept on as well. Both stay
        open: connections wait in them during a pause.
        """
        self._given = (*given, *extra)
        self._is_activated = bool(given)
        await self._set_up()
        try:
            if not given and not self._bound:
                await self.bind()
            sockets, self._bound = self._bound, []
            await self._accept(sockets, self._sites)
            await self.go_on()
        except BaseException:
            await self._runner.cleanup()
            raise

    async def _set_up(self) -> None:
        if self._runner.server is None:
            await self._runner.setup()

    async def _accept(self, sockets: Sequence[socket.socket], sites: list[Site]) -> None:
        for each in sockets:
            sites.append(Site(self._runner, each))
            await sites[-1].start()

    async def pause(self) -> None:
        """Stop accepting; connections wait in the given sockets."""
        for site in self._sites:
            await site.stop()
        self._sites.clear()

    async def go_on(self) -> None:
        """Accept on the given sockets again."""
        await self._accept([each.dup() for each in self._given], self._sites)

    def reconfigure(self, settings: ServerSettings, frontends: Sequence[FrontendSettings] = ()) -> None:
        """Apply what may change while listening: names, origins, tokens, the limits of bodies, and the front ends."""
        self._app[SETTINGS].set(settings)
        self._app[ACCESS].set(rules(settings))
        before = self._app[ENTRANCES].value
        entrances = Entrances(settings, frontends, () if before is None else before.places)
        self._app[ENTRANCES].set(entrances if frontends or entrances.places else None)

    async def accept(self, place: int | str, sockets: Sequence[socket.socket]) -> None:
        """Accept requests to a front end there."""
        await self._set_up()
        await self._accept(sockets, self._frontend_sites.setdefault(place, []))

    async def leave(self, place: int | str) -> None:
        """Accept no more there."""
        for site in self._frontend_sites.pop(place, ()):
            await site.stop()

    async def refuse_new(self) -> None:
        """Stop listening; requests under way go on, event streams end."""
        self._app[EVENT_STREAMS].close()
        await self.pause()
        for place in list(self._frontend_sites):
            await self.leave(place)

    async def stop(self) -> None:
        """Close what is still open, with a moment for last words."""
        self._app[EVENT_STREAMS].close()
        for each in self._bound:
            each.close()
        await self._runner.cleanup()


def _cannot_listen(settings: ServerSettings, error: OSError) -> ProxyError:
    """The sentence for a person who starts the server."""
    port, host, code = settings.port, settings.host, "cannot_listen"
    if error.errno == errno.EADDRINUSE:
        owner, code = port_owner(port), "port_taken"
        is_ours = owner is not None and owner.startswith("ollama-proxyd,")
        taken = f"port {port} is taken by another {'ollama-proxyd' if is_ours else 'program'}"
        who = f" ({owner.rpartition(', ')[2] if is_ours else owner})" if owner else ""
        message = f"{taken}{who}; end that one, or choose another port with --http-port or server.http_port"
    elif error.errno == errno.EACCES:
        code = "permission_denied"
        message = f"port {port} needs root; choose a port above 1023"
    else:
        message = f"cannot listen on {host} port {port}: {error.strerror or error}"
    return ProxyError(ErrorKind.UNAVAILABLE, message, code=code)
