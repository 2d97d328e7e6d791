"""Access rules that every door shares: allowed hosts, allowed origins, users of this machine, the token."""

import hmac
import os
import re
import socket
import struct
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Protocol

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.values import value
from ollama_proxyd.edges.plumbing.peers import is_hidden, served_uids

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - shown, not bound


class OtherUsers(Enum):
    """What becomes of requests by other users of this machine."""

    REFUSE = "refuse"
    ALLOW = "allow"


LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost"})
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+(?:%[a-z0-9._-]+)?\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_HOST_OF_ORIGIN = re.compile(r"[a-z0-9._-]*(:[0-9]{1,5})?", re.ASCII)
_OWN_SITE = frozenset({"none", "same-origin"})
_PEER = struct.Struct("iII")
"""struct ucred: process, user and group."""


class Connection(Protocol):
    """A socket as asyncio shows it."""

    def getsockopt(self, level: int, name: int, size: int, /) -> bytes:
        """An option's value."""


@value
class Caller:
    """What a request shows of its sender; each header with all its values.

    `sites` is the Fetch Metadata header Sec-Fetch-Site, `unix_socket` the connection where it is one.
    `is_from_here`: it came over TCP from this machine; `uid` is its user, None where that is not known.
    """

    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    sites: Sequence[str] = ()
    authorizations: Sequence[str] = ()
    api_keys: Sequence[str] = ()
    unix_socket: Connection | None = None
    is_from_here: bool = False
    uid: int | None = None

    @property
    def is_program_here(self) -> bool:
        """Whether a program of this machine asks, and no web page, which reaches less than a program does."""
        return (self.is_from_here or self.unix_socket is not None) and not (self.origins or self.sites)

    @property
    def bearer(self) -> str | None:
        """The token that it presents as a bearer, None where it is none, or there are several."""
        given = self.authorizations
        scheme, _, offered = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        return offered.strip() if scheme.lower() == "bearer" else None

    @property
    def is_own_page_or_program(self) -> bool:
        """Whether no page asks but one of this server: a configured origin may have answers, and change nothing."""
        own = {f"{scheme}://{host.lower()}" for scheme in ("http", "https") for host in self.hosts}
        is_own = all(origin.lower() in own for origin in self.origins)
        return is_own and all(site.lower() == "same-origin" for site in self.sites)

    @property
    def unix_uid(self) -> int | None:
        """The user at the other end of a Unix socket (unix(7) SO_PEERCRED), None where it is none."""
        if self.unix_socket is None:
            return None
        _pid, uid, _gid = _PEER.unpack(self.unix_socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        return int(uid)


def host_name(hosts: Sequence[str]) -> str:
    """The name in a request's only Host header, without the port; empty where there is none that can be read."""
    match = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
    return "" if match is None else match["name"]


class AccessRules:
    """The rules of one configuration.

    Any web page can send requests to this machine. It cannot choose what the browser writes into Host, Origin and
    Sec-Fetch-Site, so these tell a page from a program.
    """

    def __init__(
        self,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        token: str | None = None,
        other_users: OtherUsers = OtherUsers.REFUSE,
        where: str = "server.auth",
    ) -> None:
        configured = {_bracketed(name.lower()) for name in hosts}
        self._hosts = (LOCAL_NAMES | configured) - {_bracketed(name) for name in EVERYWHERE}
        allowed = frozenset(_as_browsers_write(origin) for origin in origins)
        self._origins = frozenset(each for each in allowed if not each.endswith("*"))
        self._any_after = tuple(each.removesuffix("*") for each in allowed - self._origins)
        self._origins |= {each.removesuffix(":*") for each in allowed if each.endswith(":*")}
        self._token = None if token is None else token.encode()
        self._other_users = other_users
        self._where = where

    def check_host(self, caller: Caller) -> None:
        """Raise ProxyError for a wrong host or a foreign page; over a Unix socket any host will do."""
        host = caller.hosts[0].lower() if len(caller.hosts) == 1 else ""
        match = _HOST.fullmatch(host)
        if caller.unix_socket is None and (match is None or match["name"] not in self._hosts):
            raise _wrong_host(caller.hosts)
        self._check_site(caller, host)

    def check_user(self, caller: Caller) -> None:
        """Raise ProxyError for another user of this machine; where the user is not known, the token decides."""
        is_local = caller.is_from_here or caller.unix_socket is not None
        if self._other_users is OtherUsers.ALLOW or not is_local:
            return
        uid = caller.uid if caller.unix_socket is None else caller.unix_uid
        if uid is not None and uid not in served_uids() and is_hidden(uid):
            if caller.unix_socket is not None:
                return  # only its owner and root can open it
            uid = None
        if uid is None and self._token is None:
            raise other_user("which user of this machine asks is not known, and there is no token")
        if uid is not None and uid not in served_uids():
            raise other_user(f"this server belongs to another user of this machine than you (user id {uid})")

    def check_token(self, caller: Caller) -> None:
        """Raise ProxyError for a request without the token; this user's Unix socket needs none."""
        if self._token is None or caller.unix_uid == os.geteuid():
            return
        as_bearer = caller.bearer is not None and self._is_token(caller.bearer)
        as_key = len(caller.api_keys) == 1 and self._is_token(caller.api_keys[0])
        if not (as_bearer or as_key):
            message = f"a token is needed: send Authorization: Bearer <the token of {self._where}>, or it as x-api-key"
            raise ProxyError(ErrorKind.UNAUTHORIZED, message, param="Authorization", code="invalid_api_key")

    def _is_token(self, offered: str) -> bool:
        given = offered.strip().encode(errors="surrogateescape")
        return self._token is not None and hmac.compare_digest(given, self._token)

    def allows(self, origin: str | None) -> bool:
        """Whether the configuration lets this origin's pages read answers."""
        return origin is not None and self._is_allowed(origin.lower())

    def _is_allowed(self, origin: str) -> bool:
        """An origin by its name, or one of a pattern such as `app://*`, whose star stands for one host or port."""
        return origin in self._origins or any(
            origin.startswith(lead) and (_PORT if lead.endswith(":") else _HOST_OF_ORIGIN).fullmatch(origin, len(lead))
            for lead in self._any_after
        )

    def _check_site(self, caller: Caller, host: str) -> None:
        if caller.origins:
            origin = caller.origins[0].lower()
            own = origin in {f"http://{host}", f"https://{host}"}
            if len(caller.origins) > 1 or not (own or self._is_allowed(origin)):
                raise cross_site(f"pages of the origin {caller.origins[0][:100]!r}", "Origin")
        elif any(site.lower() not in _OWN_SITE for site in caller.sites):
            raise cross_site("pages of other sites", "Sec-Fetch-Site")


def _as_browsers_write(origin: str) -> str:
    """An origin in small letters, without the port that its scheme has anyway (RFC 6454, 6.1)."""
    origin = origin.lower().rstrip("/")
    own = {"http": ":80", "https": ":443"}.get(origin.partition(":")[0])
    return origin.removesuffix(own) if own else origin


def _bracketed(name: str) -> str:
    """An address as the Host header writes it."""
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def _wrong_host(hosts: Sequence[str]) -> ProxyError:
    shown = f"for the host {hosts[0][:100]!r}" if len(hosts) == 1 else f"with {len(hosts) or 'no'} Host headers"
    message = (
        f"requests {shown} are refused; call the server localhost, 127.0.0.1 or [::1], "
        "or add the name to server.allowed_hosts in the configuration"
    )
    return ProxyError(ErrorKind.FORBIDDEN, message, param="Host", code="host_not_allowed")


def cross_site(pages: str, param: str) -> ProxyError:
    """The refusal of a web page."""
    message = f"{pages} may not use this server; add the origin to server.allowed_origins in the configuration"
    return ProxyError(ErrorKind.FORBIDDEN, message, param=param, code="cross_site")


def other_user(problem: str) -> ProxyError:
    """The refusal of another user of this machine."""
    message = f"{problem}; its owner can let others in with server.other_users: allow, and ask them for a token"
    return ProxyError(ErrorKind.FORBIDDEN, message, code="other_user")
