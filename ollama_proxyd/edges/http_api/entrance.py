"""Whether a request may come in by the way it came: over a socket file any name will do, else the door's rules hold."""

from aiohttp import web

from ollama_proxyd.edges.http_api.context import DOOR
from ollama_proxyd.edges.http_api.listening import came_by_file, is_own_user


def check_way_in(request: web.Request) -> None:
    """Raise ProxyError for a request by a wrong name or from a page that may not use the server."""
    door = request.app[DOOR].value
    if came_by_file(request):
        door.check_page(request.headers)
    else:
        door.check_origin(request.headers)


def check_token(request: web.Request) -> None:
    """Raise ProxyError for a request without the token, where one is configured; this user's Unix socket needs none."""
    if not is_own_user(request):
        request.app[DOOR].value.check_token(request.headers)
