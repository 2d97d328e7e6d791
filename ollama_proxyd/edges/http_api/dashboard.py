"""GET /dashboard: the page that shows the status to people; its files hold no secrets."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from aiohttp import hdrs, web

FOLDER = Path(__file__).parent / "static"
PARTS = ("main.js", "page.js", "energy.js", "chart.js", "stream.js", "words.js", "style.css", "icon.svg")
FILES: Mapping[str, Path] = {
    "/dashboard": FOLDER / "dashboard.html",
    **{f"/dashboard/{name}": FOLDER / name for name in PARTS},
}
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
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


async def _serve(body: bytes, content_type: str, _request: web.Request) -> web.Response:
    return web.Response(body=body, headers={**HEADERS, hdrs.CONTENT_TYPE: content_type})


ROUTES = tuple(
    web.get(path, partial(_serve, file.read_bytes(), CONTENT_TYPES[file.suffix])) for path, file in FILES.items()
)
