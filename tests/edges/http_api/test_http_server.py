"""The server's life: listening, and why it cannot."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.http_api.server import HttpServer
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.port_owner import command_line_at, port_owner
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend, services_of


def has_ipv6() -> bool:
    """Whether the other loopback is there."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


async def new_server(**settings: Any) -> HttpServer:
    return HttpServer(await services_of(FakeBackend("npu")), ServerSettings(**settings))


async def test_a_free_port_is_told_once_it_is_known(serve: Serve) -> None:
    site = await serve()
    assert site.server.port != 0
    assert site.server.url == f"http://127.0.0.1:{site.server.port}"


async def test_a_taken_port_is_one_sentence_with_the_program_that_has_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server = await new_server(port=port)
        with pytest.raises(ProxyError) as failure:
            await server.start()
    assert failure.value.message.startswith(f"port {port} is taken by another program (")
    assert f"pid {os.getpid()})" in failure.value.message
    assert failure.value.message.endswith("or choose another port with --http-port or server.http_port")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_address_that_is_not_ours_is_one_sentence() -> None:
    server = await new_server(host="203.0.113.7", port=0)
    with pytest.raises(ProxyError, match=r"cannot listen on 203\.0\.113\.7 port 0: "):
        await server.start()


async def test_after_stopping_nothing_listens(serve: Serve) -> None:
    site = await serve()
    await site.server.stop()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", site.server.port)


async def test_a_request_under_way_is_finished_before_the_server_stops(serve: Serve) -> None:
    gate = asyncio.Event()
    backend = FakeBackend("npu", gate, *FakeBackend("npu").script)
    site = await serve(backend, listen=ServerSettings(port=0, drain_s=5.0))
    asked = asyncio.create_task(site.chat())
    await backend.opened.wait()
    stopping = asyncio.create_task(site.server.stop())
    await asyncio.sleep(0)
    gate.set()
    assert (await asked).status == 200
    await stopping


async def test_one_connection_serves_many_requests_failed_ones_too(serve: Serve) -> None:
    site = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    async with asyncio.timeout(20):
        for path, status in (("/healthz", b"200"), ("/nowhere", b"404"), ("/healthz", b"200")):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head[9:12] == status
            (length,) = [line for line in head.splitlines() if line.lower().startswith(b"content-length: ")]
            await reader.readexactly(int(length.split()[1]))
    writer.close()


@pytest.mark.parametrize("path", ["//version", "/version/", "//version//", "/version/?x=1"])
async def test_a_path_with_a_slash_too_many_is_served(serve: Serve, path: str) -> None:
    site = await serve()
    async with site.client.get(URL(str(site.server.url) + path, encoded=True)) as reply:
        assert reply.status == 200
        assert (await reply.json())["name"] == "ollama-proxyd"


async def test_a_slash_too_many_opens_no_way_around_the_rules(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, token="s3cret-s3cret-s3cret"))
    for path in ("//version", "//v1//models", "/nowhere//x"):
        url = URL(str(site.server.url) + path, encoded=True)
        async with site.client.get(url) as reply:
            assert reply.status == 401
        async with site.client.get(url, headers={"Host": "evil.example"}) as reply:
            assert reply.status == 403


async def test_the_cookies_of_all_programs_on_localhost_fit(serve: Serve) -> None:
    site = await serve()
    assert (await site.get("/version", headers={"Cookie": "a=" + "x" * 60_000})).status == 200


ODD_HEADS = {
    "cookie": (b"GET PATH HTTP/1.1\r\nHost: localhost\r\nCookie: secret=" + b"x" * 70_000 + b"\r\n\r\n", 431),
    "name": (b"GET PATH HTTP/1.1\r\nHost: localhost\r\nsecret" + b"x" * 70_000 + b": 1\r\n\r\n", 431),
    "target": (b"GET PATH?secret=" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "header": (b"GET PATH HTTP/1.1\r\nHost: localhost\r\nsecret\0: 1\r\n\r\n", 400),
    "lengths": (b"POST PATH HTTP/1.1\r\nHost: localhost\r\nContent-Length: secret\r\n\r\n", 400),
    "both": (
        b"POST PATH HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nsecret",
        400,
    ),
    "chunk": (b"POST PATH HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n", 400),
    "method": (b"SECRET PATH HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "version": (b"GET PATH HTTP/secret\r\nHost: localhost\r\n\r\n", 400),
}
SHAPES = {
    "/api/chat": lambda body: body["error"],
    "/v1/chat/completions": lambda body: body["error"]["message"],
    "/v1/messages": lambda body: body["type"] == "error" and body["error"]["message"],
    "/status": lambda body: body["kind"] and body["error"],
}


@pytest.mark.parametrize("path", SHAPES)
@pytest.mark.parametrize("kind", ODD_HEADS)
async def test_what_the_parser_refuses_is_told_as_other_errors_are_and_not_repeated(
    serve: Serve, kind: str, path: str
) -> None:
    site = await serve()
    head, status = ODD_HEADS[kind]
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    writer.write(head.replace(b"PATH", path.encode()))
    async with asyncio.timeout(20):
        answer, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert (int(answer[9:12]), b"application/json" in answer) == (status, True)
    assert isinstance(SHAPES[path](json.loads(body)), str)
    assert b"secret" not in body.lower()
    assert len(body) < 1000


async def test_every_loopback_that_there_is_answers(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0))
    for address in ("127.0.0.1", "[::1]") if has_ipv6() else ("127.0.0.1",):
        assert (await site.get(f"http://{address}:{site.server.port}/version")).status == 200


async def test_a_connection_that_says_nothing_is_closed_after_its_time(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, keep_alive_s=0.05, drain_s=0.2))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()


async def test_names_tokens_and_sizes_change_while_listening(serve: Serve) -> None:
    site = await serve()
    assert (await site.get("/version", headers={"Host": "laptop.local"})).status == 403
    site.server.reconfigure(ServerSettings(allowed_hosts=("laptop.local",), token="new", max_body_bytes=1024))
    answer = await site.get("/version", headers={"Host": "laptop.local", "Authorization": "Bearer new"})
    assert answer.status == 200
    assert (await site.get("/version")).status == 401
    large = await site.ask("POST", "/api/chat", data=b"x" * 2000, headers={"Authorization": "Bearer new"})
    assert large.status == 413


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8080"), ("::1", "http://[::1]:8080"), ("0.0.0.0", "http://127.0.0.1:8080")],
)
async def test_the_url_is_one_that_a_client_on_this_machine_can_use(host: str, url: str) -> None:
    assert (await new_server(host=host)).url == url


def test_the_owner_of_a_port_is_unknown_where_the_kernel_tells_nothing(tmp_path: Path) -> None:
    assert port_owner(8080, tmp_path) is None


def test_the_owner_is_the_program_that_listens_and_not_one_that_is_connected(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    row = "   0: 0100007F:1F90 0100007F:0001 {state} 0:0 0:0 0 1000 0 {inode} 1"
    rows = ("head", row.format(state="01", inode=71), row.format(state="0A", inode=72))
    (tmp_path / "net/tcp").write_text("\n".join(rows))
    for pid, inode, name in ((11, 71, "curl"), (12, 72, "llama-server")):
        (tmp_path / f"{pid}/fd").mkdir(parents=True)
        (tmp_path / f"{pid}/fd/3").symlink_to(f"socket:[{inode}]")
        (tmp_path / f"{pid}/comm").write_text(f"{name}\n")
    assert port_owner(8080, tmp_path) == "llama-server, pid 12"
    assert port_owner(8081, tmp_path) is None


def test_our_own_program_goes_by_its_name_and_not_by_that_of_its_interpreter(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text("head\n   0: 0100007F:1F90 0100007F:0001 0A 0:0 0:0 0 1000 0 72 1")
    (tmp_path / "12/fd").mkdir(parents=True)
    (tmp_path / "12/fd/3").symlink_to("socket:[72]")
    (tmp_path / "12/comm").write_text("python3\n")
    for arguments in (b"/venv/bin/python3\0/venv/bin/ollama-proxyd\0--demo", b"python3\0-m\0ollama_proxyd\0"):
        (tmp_path / "12/cmdline").write_bytes(arguments)
        assert port_owner(8080, tmp_path) == "ollama-proxyd, pid 12"


def test_a_port_that_nobody_has_has_no_owner() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert port_owner(free.getsockname()[1]) is None


@asynccontextmanager
async def said(site: Site, *lines: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A raw connection on which these lines were sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    writer.write("".join(f"{line}\r\n" for line in lines).encode())
    async with asyncio.timeout(20):
        yield reader, writer
    writer.close()


POST = ("POST /efficiency HTTP/1.1", "Content-Length: 17", "Connection: close")


@pytest.mark.parametrize("word", ["100-continue", "100-Continue"])
async def test_a_client_that_waits_is_told_to_go_on_once_it_was_let_in(serve: Serve, word: str) -> None:
    async with said(await serve(), *POST, "Host: localhost", f"Expect: {word}", "") as (reader, writer):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b'{"mode": "Quiet"}')
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("path", ["/efficiency", "/v1/chat/completions", "/status", "/metrics"])
async def test_a_client_that_may_not_ask_is_not_told_to_go_on(serve: Serve, path: str) -> None:
    method = "GET" if path in {"/status", "/metrics"} else "POST"
    head = (f"{method} {path} HTTP/1.1", *POST[1:], "Host: evil.example", "Expect: 100-continue", "")
    async with said(await serve(), *head) as (reader, _):
        told = await reader.read()
    assert told.startswith(b"HTTP/1.1 403 ")
    assert b"100 Continue" not in told


async def test_an_expectation_that_nobody_can_meet_is_a_417_in_our_own_words(serve: Serve) -> None:
    answer = await (await serve()).post("/efficiency", {"mode": "Quiet"}, headers={"Expect": "a-miracle"})
    assert answer.status == 417
    assert "'a-miracle'" in answer.json["error"]
    assert answer.headers["X-Backend-Used"] == "none"


async def test_a_head_that_never_ends_is_given_up_like_a_connection_that_says_nothing(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, keep_alive_s=0.1, drain_s=0.2))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    async with asyncio.timeout(20):
        while not reader.at_eof():
            writer.write(b"GET / HTTP/1.1\r\nX-Slow: "[:1])
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.01)
    writer.close()


def test_how_the_program_at_a_port_was_started_is_read_and_unknown_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text("head\n   0: 0100007F:1F90 0100007F:0001 0A 0:0 0:0 0 1000 0 72 1")
    (tmp_path / "12/fd").mkdir(parents=True)
    (tmp_path / "12/fd/3").symlink_to("socket:[72]")
    (tmp_path / "12/cmdline").write_bytes(b"ollama\0serve\0")
    assert command_line_at(8080, tmp_path) is None
    (tmp_path / "12/environ").write_bytes(b"HOME=/home/a\0OLLAMA_NUM_PARALLEL=4\0X=a=b\0")
    command = command_line_at(8080, tmp_path)
    assert command is not None
    assert tuple(command.arguments[:2]) == ("ollama", "serve")
    assert (command.environment["OLLAMA_NUM_PARALLEL"], command.environment["X"]) == ("4", "a=b")
