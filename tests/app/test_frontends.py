"""Front ends: what each lets in, shows and changes, through a daemon as it runs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.app.sources import Demo
from ollama_proxyd.config.problems import ConfigError
from tests.app.conftest import Start
from tests.app.two_engines import DOORS, Engine, ask, chat, config, two_engines
from tests.free_ports import free_port


@pytest.fixture(autouse=True)  # before the daemon, so that they end after it
async def engines() -> AsyncIterator[tuple[Engine, Engine]]:
    async with two_engines() as both:
        yield both


async def test_a_front_end_shows_and_serves_only_its_models(start: Start, engines: tuple[Engine, Engine]) -> None:
    running = await start(
        config(engines, {"name": "chat", "hosts": ["chat.test"], "allowed_models": ["small:1b"]}), Demo.NEVER
    )
    at = {"host": "chat.test"}
    assert [each["name"] for each in (await ask(running, "/api/tags", **at)).json["models"]] == ["small:1b"]
    assert [each["name"] for each in (await ask(running, "/api/ps", **at)).json["models"]] == ["small:1b"]
    assert [each["id"] for each in (await ask(running, "/v1/models", **at)).json["data"]] == ["small:1b"]
    assert (await ask(running, "/v1/models/large:70b", **at)).status == 404
    assert len((await ask(running, "/api/tags")).json["models"]) == 2, "the daemon's own address is as it was"
    for door in DOORS:
        assert (await ask(running, door, chat("large:70b", stream=False))).status == 200
        refused = await ask(running, door, chat("large:70b", stream=False), **at)
        assert refused.status == 404
        assert "the front end chat does not serve 'large:70b', only small:1b" in refused.text
        served = await ask(running, door, chat(stream=False), **at)
        assert (served.status, served.headers["X-Frontend"]) == (200, "chat")


async def test_a_front_end_uses_only_backends_with_its_labels(start: Start, engines: tuple[Engine, Engine]) -> None:
    running = await start(
        config(engines, {"name": "fast", "hosts": ["fast.test"], "backend_labels": ["gpu"]}), Demo.NEVER
    )
    replies = await asyncio.gather(
        *[ask(running, DOORS[n % 2], chat(stream=False), host="fast.test") for n in range(20)]
    )
    assert {each.headers["X-Backend-Used"] for each in replies} == {"gpu"}
    assert {each.headers["X-Alternatives"] for each in replies} == {"none"}
    named = await ask(running, "/v1/chat/completions", chat(), host="fast.test", X_Target_Backend="npu")
    assert named.status == 503
    assert "npu is not of the front end fast, which uses backends labelled gpu" in named.text
    explained = (await ask(running, "/routing/explain", {"model": "small:1b", "frontend": "fast"})).json
    assert [each["rejections"][0]["reason_code"] for each in explained["rejected"]] == ["not_of_frontend"]
    engines[0].fails = True
    failed = await ask(running, "/v1/chat/completions", chat(), host="fast.test")
    assert failed.status >= 500, "it does not fail over to a backend of others"
    assert not engines[1].bodies


async def test_pinned_options_win_over_the_client_and_defaults_do_not(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    frontend = {
        "name": "kiosk",
        "hosts": ["kiosk.test"],
        "pinned": {"temperature": 0.25, "max_tokens": 32, "stop": "END"},
        "defaults": {"top_p": 0.5},
    }
    running = await start(config(engines, frontend), Demo.NEVER)
    options = {"temperature": 2, "num_predict": 9000}
    await ask(running, "/api/chat", chat(options=options), host="kiosk.test", X_Target_Backend="gpu")
    openai = chat(Temperature=2, temperature=2, max_completion_tokens=9000, top_p=0.9)
    await ask(running, "/v1/chat/completions", openai, host="kiosk.test", X_Target_Backend="npu")
    (ollama,), (passed,) = (each.bodies for each in engines)
    assert ollama["options"] == {"temperature": 0.25, "num_predict": 32, "stop": ["END"], "top_p": 0.5}
    told = {name: passed[name] for name in ("temperature", "max_tokens", "stop", "top_p")}
    assert told == {"temperature": 0.25, "max_tokens": 32, "stop": ["END"], "top_p": 0.9}
    assert not {"Temperature", "max_completion_tokens"} & passed.keys()
    anthropic = {"model": "small:1b", "max_tokens": 9000, "messages": [{"role": "user", "content": "hello"}]}
    assert (await ask(running, "/v1/messages", anthropic, host="kiosk.test")).status == 200
    (last,) = (body for each in engines for body in each.bodies[1:])
    assert 32 in (last.get("max_tokens"), last.get("options", {}).get("num_predict"))


@pytest.mark.parametrize(
    ("fields", "got"),
    [
        ({"model": "large:70b", "temperature": "2"}, {"model": "small:1b", "temperature": "0.25"}),
        ({}, {"model": "small:1b", "temperature": "0.25"}),
        ({"language": "de"}, {"model": "small:1b", "temperature": "0.25", "language": "de"}),
    ],
)
async def test_pinned_options_hold_in_forms_too(
    start: Start, engines: tuple[Engine, Engine], fields: dict[str, str], got: dict[str, str]
) -> None:
    pinned = {"temperature": 0.25, "model": "small:1b", "max_tokens": 9}
    running = await start(config(engines, {"name": "kiosk", "hosts": ["kiosk.test"], "pinned": pinned}), Demo.NEVER)
    form = aiohttp.FormData(fields)
    form.add_field("file", b"--sound\r\n" * 99, filename="a.wav", content_type="audio/wav")
    url = running.daemon.url + "/v1/audio/transcriptions"
    async with running.client.post(url, data=form, headers={"Host": "kiosk.test", "X-Target-Backend": "npu"}) as reply:
        assert (reply.status, await reply.json()) == (200, {"text": "hi"})
    (told,) = engines[1].forms
    assert (dict(told), len(told)) == (got, len(got))


async def test_an_operation_that_is_not_allowed_is_refused_in_the_clients_words(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(
        config(engines, {"name": "chat", "hosts": ["chat.test"], "allowed_operations": ["chat"]}), Demo.NEVER
    )
    for path in ("/v1/embeddings", "/api/embed", "/v1/completions"):
        body = {"model": "small:1b", "input": "x", "prompt": "x"}
        refused = await ask(running, path, body, host="chat.test")
        assert refused.status == 403
        assert "takes no requests of the kind" in refused.text
    (told,) = (await ask(running, "/status")).json["frontends"]
    assert (told["requests"], told["refused"]) == (0, 3)


async def test_a_token_opens_its_own_front_end_alone(
    start: Start, engines: tuple[Engine, Engine], tmp_path: Path
) -> None:
    frontends = []
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"the-secret-token-of-{name}")
        (tmp_path / name).chmod(0o600)
        frontends.append({"name": name, "hosts": [f"{name}.test"], "token_file": str(tmp_path / name)})
    running = await start(config(engines, *frontends), Demo.NEVER)
    for name, other in (("one", "two"), ("two", "one")):
        at = {"host": f"{name}.test"}
        assert (await ask(running, "/api/tags", **at)).status == 401
        assert (
            await ask(running, "/api/tags", **at, Authorization=f"Bearer the-secret-token-of-{other}")
        ).status == 401
        opened = await ask(running, "/api/tags", **at, Authorization=f"Bearer the-secret-token-of-{name}")
        assert opened.status == 200
    assert (await ask(running, "/api/tags")).status == 200, "the daemon's own address asks for none"
    told = await ask(running, "/api/tags", host="one.test")
    assert "the token of the front end one" in told.text
    assert "the-secret" not in (await ask(running, "/status")).text


@pytest.mark.parametrize(
    "path", ["/status", "/efficiency", "/metrics", "/backends", "/api/delete", "/energy", "/dashboard"]
)
async def test_the_daemons_own_state_is_not_answered_at_a_front_end(
    start: Start, engines: tuple[Engine, Engine], path: str
) -> None:
    running = await start(config(engines, {"name": "chat", "hosts": ["chat.test"]}), Demo.NEVER)
    method = "DELETE" if path == "/api/delete" else "GET"
    async with running.client.request(method, running.daemon.url + path, headers={"Host": "chat.test"}) as reply:
        assert reply.status in {403, 404}
        assert "the front end chat does not answer" in await reply.text() or reply.status == 404


async def test_a_port_is_one_front_end_whatever_the_host_says(start: Start, engines: tuple[Engine, Engine]) -> None:
    port = free_port()
    other = {"name": "other", "hosts": ["other.test"]}
    running = await start(
        config(engines, {"name": "chat", "port": port, "allowed_models": ["small:1b"]}, other), Demo.NEVER
    )
    url = f"http://127.0.0.1:{port}"
    assert (await ask(running, "/api/tags", url=url)).headers["X-Frontend"] == "chat"
    spoofed = await ask(running, "/api/tags", url=url, host="other.test")
    assert spoofed.status == 403
    assert (await ask(running, "/api/tags", url=url, host="127.0.0.1")).headers["X-Frontend"] == "chat"
    assert (await ask(running, "/api/tags", host="unknown.test")).status == 403
    assert "X-Frontend" not in (await ask(running, "/api/tags")).headers


async def test_a_unix_socket_is_one_front_end(start: Start, engines: tuple[Engine, Engine], tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    running = await start(
        config(engines, {"name": "chat", "unix_socket": str(path), "allowed_models": ["small:1b"]}), Demo.NEVER
    )
    client = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))
    async with client, client.get("http://anything/api/tags") as reply:
        assert (reply.status, reply.headers["X-Frontend"]) == (200, "chat")
        assert [each["name"] for each in (await reply.json())["models"]] == ["small:1b"]
    await running.rewrite(config(engines))
    assert not path.exists()


async def test_a_reload_makes_the_file_of_a_socket_anew_that_was_removed(
    start: Start, engines: tuple[Engine, Engine], tmp_path: Path
) -> None:
    path = tmp_path / "chat.sock"
    frontend = {"name": "chat", "unix_socket": str(path)}
    running = await start(config(engines, frontend), Demo.NEVER)
    for _ in range(2):
        path.unlink()
        await running.rewrite(config(engines, frontend))
        client = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))
        async with client, client.get("http://anything/api/tags") as reply:
            assert (reply.status, reply.headers["X-Frontend"]) == (200, "chat")
    await running.rewrite(config(engines))
    assert not path.exists()


async def test_a_socket_that_another_program_took_leaves_a_reload_without_effect(
    start: Start, engines: tuple[Engine, Engine], tmp_path: Path, lines: list[str]
) -> None:
    path = tmp_path / "chat.sock"
    frontend = {"name": "chat", "unix_socket": str(path)}
    running = await start(config(engines, frontend), Demo.NEVER)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        await running.rewrite(config(engines, {**frontend, "allowed_models": ["small:1b"]}))
        assert any("another program listens there; the front end chat names it" in line for line in lines)
        (told,) = (await ask(running, "/status")).json["frontends"]
        assert told["allowed_models"] == []
        await running.rewrite(config(engines))
        assert path.exists(), "it is the other program's"


async def test_a_front_end_comes_changes_and_goes_with_a_reload(start: Start, engines: tuple[Engine, Engine]) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    running = await start(config(engines), Demo.NEVER)
    frontend = {"name": "chat", "port": port, "hosts": ["chat.test"], "allowed_models": ["small:1b"]}
    await running.rewrite(config(engines, frontend))
    assert len((await ask(running, "/api/tags", url=url)).json["models"]) == 1
    await running.rewrite(config(engines, {**frontend, "allowed_models": []}))
    assert len((await ask(running, "/api/tags", url=url)).json["models"]) == 2
    await running.rewrite(config(engines))
    gone = await ask(running, "/api/tags", url=url)
    assert gone.status == 403, "the client's connection is still open, and leads to no other front end"
    assert (await ask(running, "/api/tags", host="chat.test")).status == 403
    async with aiohttp.ClientSession() as fresh:
        with pytest.raises(aiohttp.ClientConnectionError):
            await fresh.get(url + "/api/tags")


async def test_a_port_that_is_taken_leaves_a_reload_without_effect(
    start: Start, engines: tuple[Engine, Engine], lines: list[str]
) -> None:
    running = await start(config(engines), Demo.NEVER)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        await running.rewrite(config(engines, {"name": "chat", "port": port}, routing={"retries": 0}))
    assert any(f"port {port} for the front end chat" in line for line in lines)
    assert (await ask(running, "/status")).json["frontends"] == []


async def test_twenty_at_once_over_a_reload_all_end_well(start: Start, engines: tuple[Engine, Engine]) -> None:
    frontend = {"name": "chat", "hosts": ["chat.test"], "balancing": "round-robin"}
    running = await start(config(engines, frontend), Demo.NEVER)
    bodies = [(DOORS[n % 2], chat(stream=bool(n % 3))) for n in range(20)]
    asked = [asyncio.create_task(ask(running, path, body, host="chat.test")) for path, body in bodies]
    await asyncio.sleep(0)
    await running.rewrite(config(engines, {**frontend, "pinned": {"temperature": 0}}))
    await ask(running, "/efficiency", {"mode": "Quiet"})
    replies = await asyncio.gather(*asked)
    assert {each.status for each in replies} == {200}
    got = [len(each.bodies) for each in engines]
    assert sum(got) == 20
    assert min(got) >= 8, "who finds no free slot at the backend whose turn it is goes to the other"
    (told,) = (await ask(running, "/status")).json["frontends"]
    assert (told["requests"], told["errors"]) == (20, 0)


async def test_a_limit_of_requests_a_minute_refuses_the_next_with_the_time_to_wait(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(
        config(engines, {"name": "chat", "hosts": ["chat.test"], "requests_per_minute": 20}), Demo.NEVER
    )
    asked = [ask(running, DOORS[n % 2], chat(stream=False), host="chat.test") for n in range(25)]
    replies = await asyncio.gather(*asked)
    refused = [each for each in replies if each.status == 429]
    assert len(refused) == 5
    for each in refused:
        assert 0 < int(each.headers["Retry-After"]) <= 3
        assert "takes 20 requests a minute" in each.text
    assert (await ask(running, "/v1/chat/completions", chat())).status == 200, "others are not concerned"
    assert 'ollama_proxy_frontend_requests_total{frontend="chat"} 20.0' in await running.text("/metrics")
    assert 'ollama_proxy_frontend_refused_total{frontend="chat"} 5.0' in await running.text("/metrics")


async def test_a_request_larger_than_its_front_end_takes_is_refused(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(config(engines, {"name": "chat", "hosts": ["chat.test"], "max_body_bytes": 1024}), Demo.NEVER)
    for door in DOORS:
        refused = await ask(running, door, chat(user="x" * 1024), host="chat.test")
        assert refused.status == 413
        assert "the most that the front end chat takes" in refused.text


async def test_kept_responses_are_found_at_their_own_front_end_alone(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(
        config(engines, {"name": "one", "hosts": ["one.test"]}, {"name": "two", "hosts": ["two.test"]}), Demo.NEVER
    )
    made = (await ask(running, "/v1/responses", {"model": "small:1b", "input": "hello"}, host="one.test")).json
    assert (await ask(running, f"/v1/responses/{made['id']}", host="one.test")).status == 200
    assert (await ask(running, f"/v1/responses/{made['id']}", host="two.test")).status == 404
    assert (await ask(running, f"/v1/responses/{made['id']}")).status == 404


async def test_a_failing_backend_costs_a_balanced_request_nothing_but_a_retry(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(
        config(engines, {"name": "chat", "hosts": ["chat.test"], "balancing": "round-robin"}), Demo.NEVER
    )
    engines[0].fails = True
    asked = [ask(running, DOORS[n % 2], chat(stream=bool(n % 3)), host="chat.test") for n in range(20)]
    replies = await asyncio.gather(*asked)
    assert {(each.status, each.headers["X-Backend-Used"]) for each in replies} == {(200, "npu")}


@pytest.mark.parametrize("frontends", [[{"name": "a", "hosts": ["x.test"]}, {"name": "b", "hosts": ["X.test"]}]])
async def test_two_front_ends_with_one_host_are_an_error_that_names_both(
    start: Start, engines: tuple[Engine, Engine], frontends: list[dict[str, Any]]
) -> None:
    with pytest.raises(ConfigError, match=r"x\.test leads to the front end a already, and to b"):
        await start(config(engines, *frontends), Demo.NEVER)
