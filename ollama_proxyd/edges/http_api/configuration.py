"""GET /configuration: what the file owns, each option with its value, its default and where it was written."""

from aiohttp import web

from ollama_proxyd.core.administration import Kind
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.context import ADMIN
from ollama_proxyd.edges.http_api.strict_json import json_reply


async def configuration(request: web.Request) -> web.Response:
    """The file's path, the options in force, what the file names, and what is kept beside it and not in force."""
    admin = request.app[ADMIN].value
    if admin is None:
        raise ProxyError(ErrorKind.UNAVAILABLE, "this daemon does not tell its configuration")
    settings = admin.settings
    named = {
        kind.value: {
            each[kind.name_key]: settings.is_in_file(kind, each[kind.name_key]) for each in settings.shown(kind)
        }
        for kind in Kind
    }
    options = [each._asdict() for each in settings.written()]
    left_out = [{"kind": each.kind.value, "name": each.name, "why": each.why} for each in settings.left_out()]
    return json_reply({"path": settings.path, "options": options, "named_in_file": named, "left_out": left_out})
