"""Who may use the admin API: the daemon's own user over a Unix socket, and whoever has a token of the role."""

import os

from aiohttp import web

from ollama_proxyd.core.administration import Role, Who
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.access import caller_of
from ollama_proxyd.edges.http_api.context import ADMIN
from ollama_proxyd.services.admin import Admin

PREFIX = "/v1.0/"
ONE = "{name:[^/]+}"
OWNER = "the owner"


def admin_of(request: web.Request) -> Admin:
    """What is changed; raises ProxyError where this daemon keeps no changes."""
    admin = request.app[ADMIN].value
    if admin is None:
        raise ProxyError(ErrorKind.UNAVAILABLE, "this daemon keeps no changes; see its log")
    return admin


def who_asks(request: web.Request, least: Role) -> Who:
    """Who asks; raises ProxyError unless it is the daemon's own user over a Unix socket, or a token of that role."""
    caller = caller_of(request)
    if not caller.is_own_page_or_program:
        message = "pages of others may not use the admin API; use a program, or this server's own page with a token"
        raise ProxyError(ErrorKind.FORBIDDEN, message, code="cross_site")
    if caller.unix_uid == os.geteuid():
        return Who(OWNER, "a Unix socket")
    token = None if caller.bearer is None else admin_of(request).token_of(caller.bearer)
    if token is None:
        message = (
            "the admin API needs a token: send Authorization: Bearer <token>; "
            "make one with: ollama-proxyctl admin add-token NAME --role admin"
        )
        raise ProxyError(ErrorKind.UNAUTHORIZED, message, param="Authorization")
    if token.role < least:
        message = f"the token {token.name} has the role {token.role.name.lower()}, and this needs {least.name.lower()}"
        raise ProxyError(ErrorKind.FORBIDDEN, message, code="role_too_low")
    return Who(token.name, str(request.remote))
