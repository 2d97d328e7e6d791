"""GET /openapi.json and GET /docs: what can be asked here, for programs and for people."""

from collections.abc import Iterator, Mapping
from html import escape

from aiohttp import hdrs, web

from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.http_api.openapi import document
from ollama_proxyd.edges.http_api.pages import HEADERS
from ollama_proxyd.edges.http_api.strict_json import json_reply

PATHS = frozenset({"/openapi.json", "/docs"})
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>ollama-proxyd: the HTTP API</title>
<link rel="icon" href="/ui/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/ui/style.css">
</head>
<body>
<header class="top"><span class="brand">ollama-proxyd <span class="quiet">the HTTP API</span></span></header>
<main>
<p class="notice">The same for programs: <a href="/openapi.json">/openapi.json</a></p>
"""


async def openapi(request: web.Request) -> web.Response:
    """The routes as an OpenAPI document."""
    return json_reply(document(request.app))


async def page(request: web.Request) -> web.Response:
    """The routes as a page."""
    told = document(request.app)
    text = (
        _HEAD + "".join(_path(path, methods) for path, methods in told["paths"].items()) + "</main>\n</body>\n</html>\n"
    )
    return web.Response(text=text, headers={**HEADERS, hdrs.CONTENT_TYPE: "text/html; charset=utf-8"})


def _path(path: str, methods: Mapping[str, Json]) -> str:
    rows = "".join(_row(method, operation) for method, operation in methods.items())
    return f'<section class="card">\n<h2><code>{escape(path)}</code></h2>\n{rows}</section>\n'


def _row(method: str, operation: Mapping[str, Json]) -> str:
    kinds = ", ".join(operation["responses"]["200"]["content"])
    names = ", ".join(_names(operation))
    takes = f' <span class="quiet">takes {escape(names)}</span>' if names else ""
    summary = escape(operation["summary"])
    return f'<p><b>{method.upper()}</b> {summary}{takes} <span class="quiet">answers {escape(kinds)}</span></p>\n'


def _names(operation: Mapping[str, Json]) -> Iterator[str]:
    """What the body is read into."""
    for media in operation.get("requestBody", {"content": {}})["content"].values():
        schema = media["schema"]
        for part in schema.get("allOf", [schema]):
            if "$ref" in part:
                yield part["$ref"].rpartition("/")[2]


ROUTES = (web.get("/openapi.json", openapi), web.get("/docs", page))
