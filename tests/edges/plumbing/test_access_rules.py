"""Access rules: hosts, origins, token."""

import os
import socket
import struct
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.plumbing.access import AccessRules, Caller, OtherUsers

FIELDS = {"Host": "hosts", "Origin": "origins", "Authorization": "authorizations"}


def headers(*pairs: tuple[str, str], host: str = "localhost:8080") -> Caller:
    values: dict[str, Any] = {"hosts": [host]}
    for name, value in pairs:
        if name in FIELDS:
            values.setdefault(FIELDS[name], []).append(value)
    return Caller(**values, sites=[value for name, value in pairs if name == "Sec-Fetch-Site"])


@pytest.mark.parametrize(
    ("caller", "is_program"),
    [
        (Caller(is_from_here=True), True),
        (Caller(), False),
        (Caller(is_from_here=True, origins=["http://localhost:8080"]), False),
        (Caller(is_from_here=True, sites=["same-origin"]), False),
    ],
)
def test_a_web_page_and_another_machine_are_no_program_of_this_machine(caller: Caller, is_program: bool) -> None:
    assert caller.is_program_here is is_program


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LocalHost:9", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080"]
)
def test_the_names_of_this_machine_are_answered_on_any_port(host: str) -> None:
    AccessRules().check_host(headers(host=host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "evil.com:8080",
        "localhost.evil.com",
        "evil.com.localhost",
        "localhost.",
        "127.0.0.1.evil.com",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "0.0.0.0",
        "0.0.0.0:8080",
        "[::]",
        "::1",
        "[::1",
        "[::ffff:127.0.0.1]",
        "localhost:8080@evil.com",
        "user@localhost",
        "localhost:port",
        "localhost:",
        "localhost:8080:8080",
        "localhost/evil",
        "localhost evil.com",
        "localhost,evil.com",
        "",
    ],
)
def test_any_other_host_is_refused_so_that_a_rebound_name_reaches_nothing(host: str) -> None:
    with pytest.raises(ProxyError) as refused:
        AccessRules().check_host(headers(host=host))
    assert refused.value.kind is ErrorKind.FORBIDDEN
    assert "server.allowed_hosts" in refused.value.message


def test_a_request_without_or_with_two_hosts_is_refused() -> None:
    for hosts in ((), ("localhost", "evil.com")):
        with pytest.raises(ProxyError, match="Host headers are refused"):
            AccessRules().check_host(Caller(hosts))


class FromUser:
    """A Unix socket whose other end is a user's."""

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def getsockopt(self, level: int, name: int, size: int, /) -> bytes:
        assert (level, name, size) == (socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return struct.pack("iII", 7, self._uid, 100)


OWN = FromUser(os.geteuid())


def test_over_a_unix_socket_any_host_will_do_and_a_foreign_page_will_not() -> None:
    AccessRules().check_host(Caller(("whatever",), unix_socket=OWN))
    AccessRules().check_host(Caller(unix_socket=OWN))
    with pytest.raises(ProxyError, match="may not use this server"):
        AccessRules().check_host(Caller(("whatever",), ("https://evil.com",), unix_socket=OWN))
    with pytest.raises(ProxyError, match="other sites"):
        AccessRules().check_host(Caller(sites=("cross-site",), unix_socket=OWN))


def test_over_a_unix_socket_only_another_user_needs_the_token() -> None:
    AccessRules(token="s3cret").check_token(Caller(unix_socket=OWN))
    with pytest.raises(ProxyError):
        AccessRules(token="s3cret").check_token(Caller(unix_socket=FromUser(os.geteuid() + 1)))


def test_a_configured_name_is_answered_and_no_part_of_it() -> None:
    named = AccessRules(hosts=("Laptop.Local", "[fd00::1]"))
    named.check_host(headers(host="laptop.local:8080"))
    named.check_host(headers(host="[fd00::1]:8080"))
    with pytest.raises(ProxyError):
        named.check_host(headers(host="local"))


def test_the_address_that_the_server_listens_on_is_one_of_its_names() -> None:
    AccessRules(hosts=("192.168.1.5",)).check_host(headers(host="192.168.1.5:8080"))
    AccessRules(hosts=("fd00::7",)).check_host(headers(host="[fd00::7]:8080"))


def test_listening_everywhere_does_not_make_every_name_ours() -> None:
    for host, asked in (("0.0.0.0", "0.0.0.0"), ("::", "[::]"), ("0.0.0.0", "evil.com")):
        with pytest.raises(ProxyError):
            AccessRules(hosts=(host,)).check_host(headers(host=asked))


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.com",
        "http://localhost:3000",
        "http://localhost",
        "http://127.0.0.1:8080",
        "http://localhost:8080.evil.com",
        "null",
        "",
        "file://",
        "app://obsidian.md",
        "chrome-extension://abcdef",
        "http://localhost:8080, https://evil.com",
    ],
)
def test_pages_of_other_origins_are_refused(origin: str) -> None:
    with pytest.raises(ProxyError, match="may not use this server") as refused:
        AccessRules().check_host(headers(("Origin", origin)))
    assert refused.value.kind is ErrorKind.FORBIDDEN


@pytest.mark.parametrize("origin", ["http://localhost:8080", "https://localhost:8080", "HTTP://LOCALHOST:8080"])
def test_our_own_pages_are_let_in(origin: str) -> None:
    AccessRules().check_host(headers(("Origin", origin), ("Sec-Fetch-Site", "same-origin")))


def test_a_configured_origin_is_let_in_whatever_its_scheme() -> None:
    named = AccessRules(origins=("chrome-extension://abcdef", "https://Chat.Example/"))
    named.check_host(headers(("Origin", "chrome-extension://abcdef"), ("Sec-Fetch-Site", "cross-site")))
    named.check_host(headers(("Origin", "https://chat.example")))
    with pytest.raises(ProxyError):
        named.check_host(headers(("Origin", "chrome-extension://other")))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "new-word"])
def test_requests_that_browsers_mark_as_foreign_are_refused_even_without_an_origin(site: str) -> None:
    with pytest.raises(ProxyError, match="other sites"):
        AccessRules().check_host(headers(("Sec-Fetch-Site", site)))


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_requests_that_a_person_or_our_own_page_made_are_let_in(site: str) -> None:
    AccessRules().check_host(headers(("Sec-Fetch-Site", site)))


def test_two_origins_are_refused() -> None:
    with pytest.raises(ProxyError):
        AccessRules().check_host(headers(("Origin", "http://localhost:8080"), ("Origin", "http://localhost:8080")))


def test_no_token_is_asked_for_where_none_is_configured() -> None:
    AccessRules().check_token(headers())


@pytest.mark.parametrize("value", ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret "])
def test_the_configured_token_opens(value: str) -> None:
    AccessRules(token="s3cret").check_token(headers(("Authorization", value)))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3cretx",
        "Bearer S3CRET",
        "s3cret",
        "Basic s3cret",
        "Bearer \udcff",
    ],
)
def test_anything_but_the_token_is_refused(value: str) -> None:
    with pytest.raises(ProxyError) as refused:
        AccessRules(token="s3cret").check_token(headers(("Authorization", value)))
    assert refused.value.kind is ErrorKind.UNAUTHORIZED


def test_two_tokens_are_refused() -> None:
    with pytest.raises(ProxyError):
        AccessRules(token="a").check_token(headers(("Authorization", "Bearer a"), ("Authorization", "Bearer a")))


PATTERNS = ("moz-extension://*", "app://*", "http://localhost:*", "http://[::1]:*")


@pytest.mark.parametrize(
    "origin",
    [
        "moz-extension://0a1b-2c",
        "app://obsidian.md",
        "app://.",
        "http://localhost:3000",
        "http://localhost",
        "http://[::1]:5173",
        "http://[::1]",
        "APP://X",
    ],
)
def test_a_pattern_allows_every_host_or_port_in_its_place(origin: str) -> None:
    rules = AccessRules(origins=PATTERNS)
    assert rules.allows(origin)
    rules.check_host(headers(("Origin", origin)))


@pytest.mark.parametrize(
    "origin",
    [
        "chrome-extension://abc",
        "http://localhost.evil.com:3000",
        "http://localhost:3000.evil.com",
        "http://localhost:3000@evil.com",
        "https://localhost:3000",
        "app://x/y",
        "app://x:y",
        "xapp://x",
        "null",
        "*",
    ],
)
def test_a_pattern_allows_nothing_else(origin: str) -> None:
    rules = AccessRules(origins=PATTERNS)
    assert not rules.allows(origin)
    with pytest.raises(ProxyError):
        rules.check_host(headers(("Origin", origin)))


@pytest.mark.parametrize(
    ("written", "sent"), [("http://chat.lan:80", "http://chat.lan"), ("https://chat.lan:443/", "https://chat.lan")]
)
def test_an_origin_with_its_schemes_own_port_is_the_one_that_browsers_send(written: str, sent: str) -> None:
    rules = AccessRules(origins=[written])
    assert rules.allows(sent)
    assert not rules.allows(f"{sent}:8080")


def test_every_header_that_says_where_a_request_comes_from_counts() -> None:
    for values in (("none", "cross-site"), ("cross-site", "none"), ("same-origin", "same-site")):
        with pytest.raises(ProxyError, match="other sites"):
            AccessRules().check_host(headers(*(("Sec-Fetch-Site", value) for value in values)))


def local(uid: int | None) -> Caller:
    return Caller(("localhost",), is_from_here=True, uid=uid)


def test_this_user_and_root_are_served_and_others_of_this_machine_are_not() -> None:
    AccessRules().check_user(local(os.geteuid()))
    AccessRules().check_user(local(0))
    for caller in (local(65534), Caller(unix_socket=FromUser(65534))):
        with pytest.raises(ProxyError, match="another user of this machine") as refusal:
            AccessRules(token="s3cret").check_user(caller)
        assert refusal.value.kind is ErrorKind.FORBIDDEN
        AccessRules(other_users=OtherUsers.ALLOW).check_user(caller)


def test_where_the_user_is_not_known_the_token_decides() -> None:
    AccessRules(token="s3cret").check_user(local(None))
    with pytest.raises(ProxyError, match="there is no token"):
        AccessRules().check_user(local(None))


def test_who_comes_from_another_machine_is_nobody_of_this_one() -> None:
    AccessRules().check_user(Caller(("laptop",)))
