"""POST /routing/explain: where a request would go, with every term, under this or an imagined state of the machine."""

from collections.abc import Mapping

from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.policy.decision_fields import decision_fields
from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.what_if import read_what_if
from ollama_proxyd.edges.http_api.context import FRONTEND, services_of
from ollama_proxyd.edges.http_api.frontends import sticky_key
from ollama_proxyd.edges.http_api.strict_json import json_reply, read_object
from ollama_proxyd.edges.plumbing.hint_headers import FIELD_OF


async def explain(request: web.Request) -> web.Response:
    """The decision for a question; nothing is changed and no backend is asked."""
    values = await read_object(request)
    if isinstance(values.get("hints"), dict):
        values = {**values, "hints": _by_field(values["hints"])}
    services = services_of(request)
    asked = read_what_if(values, services.system.value.devices)
    name = request[FRONTEND].name if FRONTEND in request else asked.frontend
    query = services.frontends.in_place(asked.query, name, sticky_key(request))
    return json_reply(decision_fields(services.gateway.explain(query, asked.mode, asked.system)))


def _by_field(given: Mapping[str, Json]) -> dict[str, Json]:
    """Hints may also go by the names of their headers."""
    found: dict[str, Json] = {}
    for name, value in given.items():
        field = FIELD_OF.get(name.lower(), name.lower())
        if field in found:
            where = f"hints.{field}"[:100]
            raise ProxyError(ErrorKind.INVALID_REQUEST, f"{where} is given more than once", param=where)
        found[field] = value
    return found


ROUTES = (web.post("/routing/explain", explain),)
