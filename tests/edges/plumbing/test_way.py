"""The way to a server: proxies and certificates."""

import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.test_utils import TestServer
from yarl import URL

from ollama_proxyd.core.errors import UNREACHABLE, ProxyError
from ollama_proxyd.edges.plumbing.call import Call, cause
from ollama_proxyd.edges.plumbing.general_client import _of_the_system
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.way import DIRECT, Way, way_to

CERTIFICATE = Path(__file__).parents[2] / "upstreams/self_signed.pem"
"""With its key; for localhost and 127.0.0.1, for a hundred years."""
ELSEWHERE = URL("https://api.example.com/v1")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_the_environments_proxy_leads_to_other_machines(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, "http://proxy.example:3128")
    assert way_to(ELSEWHERE).proxy == URL("http://proxy.example:3128")


def test_a_proxy_may_be_named_without_its_scheme(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_PROXY", "proxy.example:3128")
    assert way_to(ELSEWHERE).proxy == URL("http://proxy.example:3128")


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.1:11434", "http://localhost:8080", "http://[::1]:1", "http://127.1.2.3", "http://127.1:1"),
        *("http://LOCALHOST:1", "http://localhost.:1", "http://x.localhost:1", "http://[::ffff:127.0.0.1]:1"),
        *("http://0.0.0.0:1", "http://[::]:1", "http://2130706433:1"),
    ],
)
def test_nothing_on_this_machine_is_behind_a_proxy(environment: pytest.MonkeyPatch, address: str) -> None:
    environment.setenv("HTTP_PROXY", "http://proxy.example:3128")
    for proxy in ("env", "http://other.example:3128"):
        assert way_to(URL(address), proxy).proxy is None


@pytest.mark.parametrize("excepted", ["*", "example.com", ".example.com", "api.example.com", "other, api.example.com"])
def test_no_proxy_is_heeded(environment: pytest.MonkeyPatch, excepted: str) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    environment.setenv("NO_PROXY", excepted)
    assert way_to(ELSEWHERE).proxy is None


@pytest.mark.parametrize(
    ("host", "is_direct"), [("10.1.2.3", True), ("[fd00::1]", True), ("192.0.2.1", False), ("api.example.com", False)]
)
def test_networks_of_no_proxy_are_heeded(environment: pytest.MonkeyPatch, host: str, is_direct: bool) -> None:
    environment.setenv("HTTP_PROXY", "http://proxy.example:3128")
    environment.setenv("NO_PROXY", "x/y, 10.0.0.0/8,fd00::/8")
    assert (way_to(URL(f"http://{host}:1")).proxy is None) == is_direct


def test_a_configured_proxy_wins_over_the_environment_and_none_is_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert way_to(ELSEWHERE, "http://own.example:8080").proxy == URL("http://own.example:8080")
    assert way_to(ELSEWHERE, "none").proxy is None
    environment.setenv("HTTPS_PROXY", "socks5://proxy.example:1080")
    assert way_to(ELSEWHERE).proxy is None, "aiohttp speaks to HTTP proxies alone"


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


def secure() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@asynccontextmanager
async def a_server(context: ssl.SSLContext | None) -> AsyncGenerator[TestServer, None]:
    app = web.Application()
    app.router.add_get("/", hello)
    server = TestServer(app, scheme="https" if context else "http")
    await server.start_server(ssl=context)
    try:
        yield server
    finally:
        await server.close()


async def asked(url: URL, way: Way) -> bytes:
    client = HttpClient()
    try:
        async with client.ask(Call("GET", url, "the engine", way=way)) as reply:
            return await reply.body()
    finally:
        await client.close()


async def test_a_certificate_of_an_unknown_authority_is_named_as_the_fault() -> None:
    async with a_server(secure()) as server:
        with pytest.raises(ProxyError) as caught:
            await asked(server.make_url("/"), DIRECT)
    assert caught.value.message == (
        "the engine has a certificate that is not trusted (self-signed certificate); name its authority in ca_file"
    )
    assert caught.value.code != UNREACHABLE


@pytest.mark.parametrize(
    ("code", "says", "advice"),
    [
        (9, "certificate is not yet valid", "check the clock of this machine"),
        (10, "certificate has expired", "have it renewed, or check the clock of this machine"),
        (62, "Hostname mismatch", "ask for it by a name that its certificate has"),
        (64, "IP address mismatch", "ask for it by a name that its certificate has"),
        (20, "unable to get local issuer certificate", "name its authority in ca_file"),
    ],
)
async def test_the_advice_fits_the_fault_of_the_certificate(
    code: int, says: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = ssl.SSLCertVerificationError(1, "certificate verify failed")
    fault.verify_code, fault.verify_message = code, says
    key = ConnectionKey("engine", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)

    async def refuses(*_: object, **__: object) -> None:
        raise aiohttp.ClientConnectorCertificateError(key, fault)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", refuses)
    with pytest.raises(ProxyError) as caught:
        await asked(URL("https://engine/"), DIRECT)
    assert caught.value.message == f"the engine has a certificate that is not trusted ({says}); {advice}"


def test_a_fault_of_tls_is_not_named_by_the_systems_errors() -> None:
    fault = ssl.SSLError(1, "tlsv13 alert certificate required")
    fault.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    wrapped = aiohttp.ClientOSError(*fault.args)
    wrapped.__cause__ = fault
    assert cause(fault) == cause(wrapped) == "tlsv13 alert certificate required"


async def test_a_server_that_refuses_our_tls_is_not_told_to_be_http() -> None:
    context = secure()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA256:@SECLEVEL=0")
    async with a_server(context) as server:
        url = server.make_url("/")
        with pytest.raises(ProxyError) as caught:
            await asked(url, way_to(url, ca_file=str(CERTIFICATE)))
    assert caught.value.message.startswith(
        ("the engine refused our TLS (", "the engine closed the connection before TLS")
    )


async def test_a_certificate_whose_authority_is_configured_is_trusted() -> None:
    async with a_server(secure()) as server:
        url = server.make_url("/")
        assert await asked(url, way_to(url, ca_file=str(CERTIFICATE))) == b"hello"


async def test_an_http_server_under_an_https_address_is_named_as_the_fault() -> None:
    async with a_server(None) as server:
        with pytest.raises(ProxyError) as caught:
            await asked(server.make_url("/").with_scheme("https"), DIRECT)
    assert caught.value.message.startswith("the engine does not speak TLS as we do (")
    assert caught.value.message.endswith("check whether its endpoint is http or https")


async def test_a_name_that_is_unknown_is_named_as_the_fault() -> None:
    with pytest.raises(ProxyError, match=r"^the engine cannot be reached: [A-Z][^\[\]]*$"):
        await asked(URL("https://nowhere.invalid/"), DIRECT)


async def test_a_proxy_that_does_not_answer_is_named_as_the_fault() -> None:
    with pytest.raises(ProxyError) as caught:
        await asked(URL("http://api.example.com/"), Way(URL("http://127.0.0.1:9")))
    message = "the engine cannot be reached, because its proxy 127.0.0.1:9 cannot: Connection refused"
    assert caught.value.message == message


async def test_a_proxy_asks_in_our_place() -> None:
    async with a_server(None) as proxy:
        assert await asked(URL("http://api.example.com/"), Way(proxy.make_url("/"))) == b"hello"


@pytest.fixture
def system_trust(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The system trusts the suite's certificate, and nobody has been asked over TLS yet."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    _of_the_system.cache_clear()
    yield
    _of_the_system.cache_clear()


@pytest.mark.usefixtures("system_trust")
async def test_a_certificate_whose_authority_the_system_knows_is_trusted() -> None:
    async with a_server(secure()) as server:
        assert await asked(server.make_url("/"), DIRECT) == b"hello"


@pytest.mark.usefixtures("system_trust")
def test_a_start_reads_no_certificates_of_the_system_and_leaves_the_environment_as_it_was() -> None:
    look = (
        "import os, ssl, ollama_proxyd.cli.main, aiohttp.connector as connector; "
        "print(len(connector._SSL_CONTEXT_VERIFIED.get_ca_certs()), len(ssl.create_default_context().get_ca_certs()))"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=120, check=True)
    assert told.stdout.split() == ["0", "1"], "if aiohttp's own is not empty, something imports it before lean_aiohttp"


def test_a_start_loads_no_library_of_c_plus_plus_and_leaves_the_environment_as_it_was() -> None:
    look = (
        "import os, ollama_proxyd.cli.main; "
        "print('libstdc++' in open('/proc/self/maps').read(), os.environ.get('FROZENLIST_NO_EXTENSIONS'))"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=120, check=True)
    assert told.stdout.split() == ["False", "None"]
