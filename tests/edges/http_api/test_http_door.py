"""Who is let in."""

from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.http_api.door import Door
from ollama_proxyd.edges.http_api.settings import ServerSettings


def headers(*pairs: tuple[str, str], host: str = "localhost:8080") -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict([("Host", host), *pairs]))


def door(**settings: Any) -> Door:
    return Door(ServerSettings(**settings))


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LocalHost:9", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080"]
)
def test_the_names_of_this_machine_are_answered_on_any_port(host: str) -> None:
    door().check_origin(headers(host=host))


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
        door().check_origin(headers(host=host))
    assert refused.value.kind is ErrorKind.FORBIDDEN
    assert "server.allowed_hosts" in refused.value.message


def test_a_request_without_or_with_two_hosts_is_refused() -> None:
    for given in (CIMultiDict(), CIMultiDict([("Host", "localhost"), ("host", "evil.com")])):
        with pytest.raises(ProxyError, match="Host headers are refused"):
            door().check_origin(CIMultiDictProxy(given))


def test_a_configured_name_is_answered_and_no_part_of_it() -> None:
    named = door(allowed_hosts=("Laptop.Local", "[fd00::1]"))
    named.check_origin(headers(host="laptop.local:8080"))
    named.check_origin(headers(host="[fd00::1]:8080"))
    with pytest.raises(ProxyError):
        named.check_origin(headers(host="local"))


def test_the_address_that_the_server_listens_on_is_one_of_its_names() -> None:
    door(host="192.168.1.5").check_origin(headers(host="192.168.1.5:8080"))
    door(host="fd00::7").check_origin(headers(host="[fd00::7]:8080"))


def test_listening_everywhere_does_not_make_every_name_ours() -> None:
    for host, asked in (("0.0.0.0", "0.0.0.0"), ("::", "[::]"), ("0.0.0.0", "evil.com")):
        with pytest.raises(ProxyError):
            door(host=host).check_origin(headers(host=asked))


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
        door().check_origin(headers(("Origin", origin)))
    assert refused.value.kind is ErrorKind.FORBIDDEN


@pytest.mark.parametrize("origin", ["http://localhost:8080", "https://localhost:8080", "HTTP://LOCALHOST:8080"])
def test_our_own_pages_are_let_in(origin: str) -> None:
    door().check_origin(headers(("Origin", origin), ("Sec-Fetch-Site", "same-origin")))


def test_a_configured_origin_is_let_in_whatever_its_scheme() -> None:
    named = door(allowed_origins=("chrome-extension://abcdef", "https://Chat.Example/"))
    named.check_origin(headers(("Origin", "chrome-extension://abcdef"), ("Sec-Fetch-Site", "cross-site")))
    named.check_origin(headers(("Origin", "https://chat.example")))
    with pytest.raises(ProxyError):
        named.check_origin(headers(("Origin", "chrome-extension://other")))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "new-word"])
def test_requests_that_browsers_mark_as_foreign_are_refused_even_without_an_origin(site: str) -> None:
    with pytest.raises(ProxyError, match="other sites"):
        door().check_origin(headers(("Sec-Fetch-Site", site)))


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_requests_that_a_person_or_our_own_page_made_are_let_in(site: str) -> None:
    door().check_origin(headers(("Sec-Fetch-Site", site)))


def test_two_origins_are_refused() -> None:
    with pytest.raises(ProxyError):
        door().check_origin(headers(("Origin", "http://localhost:8080"), ("Origin", "http://localhost:8080")))


def test_no_token_is_asked_for_where_none_is_configured() -> None:
    door().check_token(headers())


@pytest.mark.parametrize("value", ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret "])
def test_the_configured_token_opens(value: str) -> None:
    door(token="s3cret").check_token(headers(("Authorization", value)))


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
        door(token="s3cret").check_token(headers(("Authorization", value)))
    assert refused.value.kind is ErrorKind.UNAUTHORIZED


def test_two_tokens_are_refused() -> None:
    with pytest.raises(ProxyError):
        door(token="a").check_token(headers(("Authorization", "Bearer a"), ("Authorization", "Bearer a")))
