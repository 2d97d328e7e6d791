"""Who is let in: names that the server answers to, pages that may talk to it, and the token."""

import hmac
import re

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.settings import ServerSettings

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound to
SEC_FETCH_SITE = "Sec-Fetch-Site"

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_OWN_SITE = frozenset({"none", "same-origin"})


class Door:
    """The rules of one configuration.

    A web page that anybody opens can send requests to this machine. It cannot choose what the browser writes into
    Host, Origin and Sec-Fetch-Site, so these tell a page from a program.
    """

    def __init__(self, settings: ServerSettings) -> None:
        configured = {_bracketed(name.lower()) for name in (settings.host, *settings.allowed_hosts)}
        self._hosts = (LOCAL_NAMES | configured) - {_bracketed(name) for name in WILDCARDS}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in settings.allowed_origins)
        self._token = None if settings.token is None else settings.token.encode()

    def check_origin(self, headers: CIMultiDictProxy[str]) -> None:
        """Raise ProxyError for a request by a wrong name or from a page that may not use the server."""
        self._check_site(headers, self._checked_host(headers))

    def check_page(self, headers: CIMultiDictProxy[str]) -> None:
        """The same of a request over a Unix socket, which has no name: any Host will do, a page of another site not."""
        self._check_site(headers, headers.get(hdrs.HOST, "").lower())

    def check_token(self, headers: CIMultiDictProxy[str]) -> None:
        """Raise ProxyError for a request without the token, where one is configured."""
        if self._token is not None:
            self._check_token(headers, self._token)

    def allows(self, origin: str | None) -> bool:
        """Whether the configuration names this origin, so that its pages may read answers."""
        return origin is not None and origin.lower() in self._origins

    def _checked_host(self, headers: CIMultiDictProxy[str]) -> str:
        hosts = headers.getall(hdrs.HOST, ())
        host = hosts[0].lower() if len(hosts) == 1 else ""
        match = _HOST.fullmatch(host)
        if match is None or match["name"] not in self._hosts:
            shown = f"for the host {hosts[0][:100]!r}" if len(hosts) == 1 else f"with {len(hosts) or 'no'} Host headers"
            message = (
                f"requests {shown} are refused; call the server localhost, 127.0.0.1 or [::1], "
                "or add the name to server.allowed_hosts in the configuration"
            )
            raise ProxyError(ErrorKind.FORBIDDEN, message, param="Host", code="host_not_allowed")
        return host

    def _check_site(self, headers: CIMultiDictProxy[str], host: str) -> None:
        origins = headers.getall(hdrs.ORIGIN, ())
        if origins:
            origin = origins[0].lower()
            own = origin in {f"http://{host}", f"https://{host}"}
            if len(origins) == 1 and (own or origin in self._origins):
                return
            raise _cross_site(f"pages of the origin {origins[0][:100]!r}", "Origin")
        if headers.get(SEC_FETCH_SITE, "none").lower() not in _OWN_SITE:
            raise _cross_site("pages of other sites", SEC_FETCH_SITE)

    @staticmethod
    def _check_token(headers: CIMultiDictProxy[str], token: bytes) -> None:
        given = headers.getall(hdrs.AUTHORIZATION, ())
        scheme, _, offered = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        matches = hmac.compare_digest(offered.strip().encode(errors="surrogateescape"), token)
        if scheme.lower() != "bearer" or not matches:
            message = "a token is needed: send the header Authorization: Bearer <the token of server.auth>"
            raise ProxyError(ErrorKind.UNAUTHORIZED, message, param="Authorization", code="invalid_api_key")


def _bracketed(name: str) -> str:
    """An address as the Host header writes it."""
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def _cross_site(who: str, param: str) -> ProxyError:
    message = f"{who} may not use this server; add the origin to server.allowed_origins in the configuration to let it"
    return ProxyError(ErrorKind.FORBIDDEN, message, param=param, code="cross_site")
