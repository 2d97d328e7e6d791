"""GET /dashboard: the page that shows the status to people; its files hold no secrets."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aiohttp import hdrs, web

FOLDER = Path(__file__).parent / "static"


class File(NamedTuple):
    """A file of the page, and what it is."""

    name: str
    content_type: str


FILES: Mapping[str, File] = {
    "/dashboard": File("dashboard.html", "text/html; charset=utf-8"),
    "/dashboard/main.js": File("main.js", "text/javascript; charset=utf-8"),
    "/dashboard/stream.js": File("stream.js", "text/javascript; charset=utf-8"),
    "/dashboard/words.js": File("words.js", "text/javascript; charset=utf-8"),
    "/dashboard/style.css": File("style.css", "text/css; charset=utf-8"),
    "/dashboard/icon.svg": File("icon.svg", "image/svg+xml"),
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    hdrs.CACHE_CONTROL: "no-cache",
}


def is_public(request: web.Request) -> bool:
    """Whether this is one of the page's own files: a browser that opens a page has no way to show a token."""
    return request.path in FILES


async def _serve(file: File, body: bytes, _request: web.Request) -> web.Response:
    return web.Response(body=body, headers={**HEADERS, hdrs.CONTENT_TYPE: file.content_type})


ROUTES = tuple(web.get(path, partial(_serve, file, (FOLDER / file.name).read_bytes())) for path, file in FILES.items())
