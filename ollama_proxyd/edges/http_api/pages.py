"""The pages for people: chat, dashboard and what belongs to them; their files hold no secrets and load nothing else."""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Final
from zlib import MAX_WBITS, Z_BEST_COMPRESSION, compress

from aiohttp import hdrs, web

_GZIP: Final = 16 + MAX_WBITS
FOLDER = Path(__file__).parent / "static"
PAGES: Mapping[str, str] = {
    "/chat": "chat.html",
    "/dashboard": "dashboard.html",
    "/ui/models": "models.html",
    "/ui/energy": "energy.html",
    "/ui/machine": "machine.html",
    "/ui/routing": "routing.html",
    "/ui/requests": "requests.html",
    "/ui/settings": "settings.html",
}
"""What each address shows within the frame that all pages share."""
FRAME: Final = "frame.html"
ICONS: Final = "icons.html"
"""The pictures of devices and of what they do, for the pages that show them."""
TITLES: Mapping[str, str] = {
    "chat.html": "Chat",
    "dashboard.html": "Dashboard",
    "models.html": "Models",
    "energy.html": "Energy",
    "machine.html": "Machine",
    "routing.html": "Routing",
    "requests.html": "Requests",
    "settings.html": "Settings",
}
PARTS = tuple(sorted(path.name for path in FOLDER.iterdir() if path.suffix != ".html"))
FILES: Mapping[str, str] = {**PAGES, **{f"/ui/{name}": name for name in PARTS}}
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types rendered"
)
"""Pictures that a person has added are blobs; `rendered` is the one way in for HTML, made by this server."""
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
    """Whether this is one of the pages' own files: a browser that opens a page has no way to show a token."""
    return request.path in FILES or (request.path == "/" and wants_page(request))


def wants_page(request: web.Request) -> bool:
    """Whether a browser is to show the answer: it alone names HTML among what it accepts (RFC 9110, 12.5.1)."""
    return _takes(request, hdrs.ACCEPT, "text/html")


@cache
def content(name: str) -> bytes:
    """A file's bytes as they are served, read when they are first asked for."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    if name in TITLES:
        frame = (FOLDER / FRAME).read_text(encoding="utf-8")
        text = frame.replace("{{title}}", TITLES[name]).replace("{{page}}", text)
        text = text.replace("{{icons}}", (FOLDER / ICONS).read_text(encoding="utf-8"))
        text = text.replace(f'data-page="{name}"', 'aria-current="page"')
    return text.encode()


@cache
def squeezed(name: str) -> bytes:
    """The same bytes compressed, which are about a third."""
    return compress(content(name), Z_BEST_COMPRESSION, _GZIP)


def _takes(request: web.Request, header: str, name: str) -> bool:
    """Whether a client names this among what it takes; weight 0 says that it does not."""
    parts = ",".join(request.headers.getall(header, ())).lower().split(",")
    named = {
        what.strip(): more.replace(" ", "").split(";") for what, _, more in (each.partition(";") for each in parts)
    }
    return name in named and not {"q=0", "q=0.0", "q=0.00", "q=0.000"} & set(named[name])


async def _serve(name: str, request: web.Request) -> web.Response:
    headers = {**HEADERS, hdrs.CONTENT_TYPE: CONTENT_TYPES[Path(name).suffix], hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if not _takes(request, hdrs.ACCEPT_ENCODING, "gzip"):
        return web.Response(body=content(name), headers=headers)
    return web.Response(body=squeezed(name), headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})


async def greet(request: web.Request) -> web.Response:
    """The chat page for a browser, and for programs what Ollama's clients look for to see that it is there."""
    if not wants_page(request):
        return web.Response(text="Ollama is running", headers={hdrs.VARY: hdrs.ACCEPT})
    reply = await _serve("chat.html", request)
    reply.headers[hdrs.VARY] = f"{hdrs.ACCEPT}, {hdrs.ACCEPT_ENCODING}"
    return reply


ROUTES = (web.get("/", greet), *(web.get(path, partial(_serve, name)) for path, name in FILES.items()))
