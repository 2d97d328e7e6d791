"""What every request passes through: its id, the access rules, and the place where errors become answers."""

import logging

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api import access, admin_callers, api_page
from ollama_proxyd.edges.http_api.bodies import BODIES
from ollama_proxyd.edges.http_api.context import REQUEST_ID
from ollama_proxyd.edges.http_api.errors import RENDERERS, error_reply
from ollama_proxyd.edges.http_api.expect_continue import send_100
from ollama_proxyd.edges.http_api.frontends import ENTRANCES, check_route
from ollama_proxyd.edges.http_api.hints import read_request_id
from ollama_proxyd.edges.http_api.pages import is_public
from ollama_proxyd.edges.http_api.streaming import STARTED, end_broken
from ollama_proxyd.edges.plumbing.hint_headers import HEADERS

log = logging.getLogger(__name__)

_MOST_SHOWN = 200
"""Characters of a path that an error repeats."""
OPEN = frozenset({"/healthz", "/readyz"})
"""What anyone on the machine may ask: the answers tell nothing of its user."""


@web.middleware
async def front(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request in and bring out an answer, whatever happens; only a client that left gets none."""
    try:
        request[REQUEST_ID] = read_request_id(request.headers)
        _check_target(request)
        if (preflight := let_in(request)) is not None:
            return preflight
        await send_100(request)
        return await handler(request)
    except ProxyError as error:
        return await _fail(request, error)
    except web.HTTPMethodNotAllowed as refusal:
        return _method_not_allowed(request, refusal)
    except web.HTTPNotFound:
        return await _nothing_there(request)
    except ConnectionError:
        raise
    except Exception:  # noqa: BLE001 - one request may fail by a fault of ours; the server and the other requests go on
        return await _fail_unexpectedly(request)
    finally:
        _let_go(request)


def _let_go(request: web.Request) -> None:
    """Free what was held for a request."""
    request.app[BODIES].let_go(request)
    if STARTED in request:
        del request[STARTED]  # its answer holds the request in turn


async def _nothing_there(request: web.Request) -> web.StreamResponse:
    if (tidy := await _tidied(request)) is not None:
        return await front(tidy, tidy.match_info.handler)
    message = f"there is nothing at {request.path[:_MOST_SHOWN]}{await _hint(request)}"
    return await _fail(request, ProxyError(ErrorKind.ROUTE_NOT_FOUND, message))


async def _hint(request: web.Request) -> str:
    """What to do where a client's base address ends in a part that its own paths begin with, or has one too few."""
    first, *rest = _parts(request)
    meant = {
        "/".join(("", "v1", first, *rest)): "add /v1 to",
        "/".join(("", *rest)): f"take /{first[:_MOST_SHOWN]} from",
    }
    for path, do in meant.items():
        if path and (await request.app.router.resolve(_at(request, path))).http_exception is None:
            return f"; there is {path[:_MOST_SHOWN]}, so {do} the base address that your client is set to"
    return ""


def _parts(request: web.Request) -> list[str]:
    return [part for part in request.rel_url.raw_path.split("/") if part] or [""]


async def _tidied(request: web.Request) -> web.Request | None:
    """The same request for its path without empty parts, None where that is no other path.

    Clients join a base address that ends in a slash with a path that begins with one.
    """
    path = "/".join(("", *_parts(request)))
    if path == request.rel_url.raw_path:
        return None
    tidy = _at(request, path)
    match = await request.app.router.resolve(tidy)
    match.add_app(request.app)
    tidy._match_info = match  # as aiohttp's normalize_path_middleware does
    return tidy


def _at(request: web.Request, path: str) -> web.Request:
    return request.clone(rel_url=URL.build(path=path, query_string=request.rel_url.raw_query_string, encoded=True))


def let_in(request: web.Request) -> web.StreamResponse | None:
    """Note the front end, and refuse who may not ask there or what it does not answer; raises ProxyError.

    The answer where a browser asks first. A request that lasts, such as a WebSocket, can be held against the present
    rules again.
    """
    if (entrances := request.app[ENTRANCES].value) is not None:
        entrances.enter(request)
    if not access.is_as_before(request) and (preflight := _check(request)) is not None:
        return preflight
    check_route(request)
    return None


def _check(request: web.Request) -> web.StreamResponse | None:
    """Refuse foreign pages, other users, and who has no token; the answer where a browser asks first."""
    access.check_host(request)
    if access.is_preflight(request):
        return access.preflight_reply(request)
    if request.path not in OPEN:
        is_open = is_public(request) or request.path in api_page.PATHS or request.path.startswith(admin_callers.PREFIX)
        access.check_sender(request, needs_token=not is_open)
    return None


def _check_target(request: web.Request) -> None:
    """A whole URL in the request line asks for a forward proxy, and contradicts Host."""
    if not request.raw_path.startswith("/"):
        raise ProxyError(ErrorKind.INVALID_REQUEST, "the request must name a path that begins with /")


async def _fail(request: web.Request, error: ProxyError) -> web.StreamResponse:
    _forget_frames(error)
    started = request.get(STARTED)
    if started is not None:
        return await end_broken(started, error)
    return error_reply(error.named(HEADERS), request.app[RENDERERS].of(request))


def _forget_frames(error: BaseException) -> None:
    """Free what the frames of a failure hold, such as the body: an error that a local names is a cycle."""
    failed: BaseException | None = error
    while failed is not None and failed.__traceback__ is not None:  # causes may form a circle
        failed.__traceback__ = None
        failed = failed.__cause__ or failed.__context__


async def _fail_unexpectedly(request: web.Request) -> web.StreamResponse:
    request_id = request.get(REQUEST_ID, "without a name")
    log.exception("request %s (%s %s) failed by a fault of the proxy", request_id, request.method, request.path[:200])
    message = f"the proxy failed; its log says more under the request id {request_id}"
    return await _fail(request, ProxyError(ErrorKind.INTERNAL, message))


def _method_not_allowed(request: web.Request, refusal: web.HTTPMethodNotAllowed) -> web.StreamResponse:
    allowed = ", ".join(sorted(refusal.allowed_methods))
    message = f"{request.path[:200]} takes {allowed}, not {request.method[:20]}"
    reply = error_reply(ProxyError(ErrorKind.METHOD_NOT_ALLOWED, message), request.app[RENDERERS].of(request))
    reply.headers[hdrs.ALLOW] = allowed
    return reply
