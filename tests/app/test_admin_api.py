"""The admin API through a daemon as it runs: what it changes, who may, what is kept, and that the file counts."""

import asyncio
import json
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.app.sources import Demo
from ollama_proxyd.core.administration import Role, Who
from tests.app.conftest import Running, Start
from tests.app.two_engines import DOORS, Engine, ask, chat, config, two_engines

OWNER = Who("the owner", "here")


@pytest.fixture(autouse=True)  # before the daemon, so that they end after it
async def engines() -> AsyncIterator[tuple[Engine, Engine]]:
    async with two_engines() as both:
        yield both


class Desk:
    """A program with a token of the admin API."""

    def __init__(self, running: Running, token: str) -> None:
        self._running = running
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        url = self._running.daemon.url + path
        async with self._running.client.request(method, url, json=body, headers=self._headers) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if text else None

    async def on_a_websocket(self) -> int:
        """The status that a request for a WebSocket gets, 200 where it is answered there."""
        url = self._running.daemon.url + "/v1/stream/ws"
        try:
            async with self._running.client.ws_connect(url, headers=self._headers) as socket:
                await socket.send_json(chat(stream=False))
                return 200 if (await socket.receive_json(timeout=30))["done"] else 500
        except aiohttp.WSServerHandshakeError as error:
            return error.status


async def desk(running: Running, role: Role = Role.ADMIN) -> Desk:
    admin = running.daemon.admin
    return Desk(running, await admin.put_token(role.name.lower(), role, OWNER))


def one_engine(engines: tuple[Engine, Engine], **more: Any) -> dict[str, Any]:
    wanted = config(engines, **more)
    return {**wanted, "backends": wanted["backends"][:1]}


async def test_a_backend_comes_changes_and_goes_while_twenty_requests_run(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(one_engine(engines), Demo.NEVER)
    ours = await desk(running)
    port = int(engines[1].url.rpartition(":")[2])
    new = {"Identifier": "new", "Hostname": "127.0.0.1", "Port": port, "ApiFormat": "OpenAI", "MaxParallelRequests": 4}
    asked = [asyncio.create_task(ask(running, DOORS[n % 2], chat(stream=bool(n % 3)))) for n in range(20)]
    status, told = await ours("PUT", "/v1.0/backends", new)
    assert (status, told["endpoint"], told["Source"], told["slots"]) == (201, engines[1].url, "api", 4)
    assert {(await each).status for each in asked} == {200}
    assert (await ask(running, "/v1/chat/completions", chat(), X_Target_Backend="new")).status == 200
    assert (await ours("PUT", "/v1.0/backends", new))[0] == 400
    status, told = await ours(
        "PUT", "/v1.0/backends/new", {"endpoint": engines[1].url, "type": "openai", "labels": ["x"]}
    )
    assert (status, told["Labels"], told["slots"]) == (200, ["x"], None), (
        "what a replacement leaves out is as by default"
    )
    assert (await ours("GET", "/v1.0/backends/new/health"))[1]["health"] == "up"
    assert await ours("DELETE", "/v1.0/backends/new") == (204, None)
    assert (await ours("GET", "/v1.0/backends/new"))[0] == 404
    assert [each["id"] for each in (await ask(running, "/status")).json["backends"]] == ["gpu"]


async def test_a_front_end_of_another_gateways_words_serves(start: Start, engines: tuple[Engine, Engine]) -> None:
    running = await start(config(engines), Demo.NEVER)
    ours = await desk(running)
    wanted = {
        "Identifier": "chat",
        "Hostname": "chat.test",
        "LoadBalancing": "RoundRobin",
        "Backends": ["gpu"],
        "AllowEmbeddings": False,
        "PinnedCompletionsProperties": {"temperature": 0.5},
        "TimeoutMs": 1000,
    }
    status, told = await ours("PUT", "/v1.0/frontends", wanted)
    assert (status, told["balancing"], told["allowed_operations"]) == (201, "round-robin", ["chat", "completion"])
    served = await ask(running, "/api/chat", chat(), host="chat.test")
    assert (served.headers["X-Frontend"], served.headers["X-Backend-Used"]) == ("chat", "gpu")
    assert engines[0].bodies[-1]["options"]["temperature"] == 0.5
    assert (await ask(running, "/api/embed", {"model": "small:1b", "input": "x"}, host="chat.test")).status == 403
    assert (await ask(running, "/v1.0/frontends", host="chat.test")).status == 403, "no front end answers the admin API"
    refused, told = await ours("POST", "/v1.0/frontends", wanted)
    assert (refused, told["Error"]) == (405, "BadRequest")
    assert (await ours("DELETE", "/v1.0/frontends/chat"))[0] == 204
    assert (await ask(running, "/api/tags", host="chat.test")).status == 403


async def test_a_name_in_other_letters_is_no_other_front_end(start: Start, engines: tuple[Engine, Engine]) -> None:
    running = await start(config(engines), Demo.NEVER)
    ours = await desk(running)
    assert (await ours("PUT", "/v1.0/frontends/chat", {"hosts": ["chat.test"]}))[0] == 201
    status, told = await ours("PUT", "/v1.0/frontends/CHAT", {"hosts": ["other.test"]})
    assert (status, "chat" in json.dumps(told)) == (400, True)
    assert [each["name"] for each in (await ours("GET", "/v1.0/frontends"))[1]] == ["chat"]
    assert [entry.name for entry in running.daemon.admin._kept.entries] == ["chat"]


async def test_what_is_kept_lasts_over_a_restart_and_the_file_counts(
    start: Start, engines: tuple[Engine, Engine], tmp_path: Path
) -> None:
    running = await start(one_engine(engines), Demo.NEVER)
    ours = await desk(running)
    wanted = {"Identifier": "new", "endpoint": engines[1].url, "type": "openai"}
    assert (await ours("PUT", "/v1.0/backends", wanted))[0] == 201
    again = await start(one_engine(engines), Demo.NEVER)
    assert {each["id"] for each in (await ask(again, "/status")).json["backends"]} == {"gpu", "new"}
    refused, told = await ours("PUT", "/v1.0/backends/gpu", wanted | {"Identifier": "gpu"})
    assert (refused, told["Error"]) == (403, "AuthorizationFailed")
    assert "the configuration file names 'gpu' under backends" in told["Message"]
    assert (await ours("DELETE", "/v1.0/backends/gpu"))[0] == 403
    kept = tmp_path / "state" / "ollama-proxyd" / "admin.db"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


async def test_what_is_replaced_keeps_its_place_over_a_restart(start: Start, engines: tuple[Engine, Engine]) -> None:
    running = await start({**one_engine(engines), "backends": []}, Demo.NEVER)
    ours = await desk(running)
    for name, each in (("b", engines[0]), ("a", engines[1]), ("b", engines[0])):
        await ours("PUT", f"/v1.0/backends/{name}", {"endpoint": each.url, "type": "openai"})
    names = [each["id"] for each in (await ask(running, "/status")).json["backends"]]
    await running.daemon.reload()
    again = [each["id"] for each in (await ask(running, "/status")).json["backends"]]
    assert names == again == ["b", "a"]


async def test_a_kept_backend_that_contradicts_the_file_is_left_out_and_told(
    start: Start, engines: tuple[Engine, Engine], lines: list[str]
) -> None:
    running = await start(one_engine(engines), Demo.NEVER)
    wanted = {"Identifier": "new", "endpoint": engines[1].url, "type": "openai"}
    assert (await (await desk(running))("PUT", "/v1.0/backends", wanted))[0] == 201
    again = await start(config(engines), Demo.NEVER)  # npu is at the same address
    assert {each["id"] for each in (await ask(again, "/status")).json["backends"]} == {"gpu", "npu"}
    assert any("backends new of the admin API is left out" in line for line in lines)
    (left_out,) = (await ask(again, "/configuration")).json["left_out"]
    assert (left_out["kind"], left_out["name"]) == ("backends", "new")
    ours = await desk(again)
    told = {each["Identifier"]: each.get("LeftOut") for each in (await ours("GET", "/v1.0/backends"))[1]}
    assert told == {"gpu": None, "npu": None, "new": left_out["why"]}
    status, one = await ours("GET", "/v1.0/backends/new")
    assert (status, one["LeftOut"], one["endpoint"]) == (200, left_out["why"], engines[1].url)
    assert (await ours("PUT", "/v1.0/backends", {**wanted, "endpoint": "http://127.0.0.1:2"}))[0] == 400, "it is there"
    other = {"Identifier": "other", "endpoint": "http://127.0.0.1:1", "type": "openai"}
    assert (await ours("PUT", "/v1.0/backends", other))[0] == 201
    assert [each["name"] for each in (await ask(again, "/configuration")).json["left_out"]] == ["new"]
    assert (await ours("DELETE", "/v1.0/backends/new"))[0] == 204
    assert (await ask(again, "/configuration")).json["left_out"] == []


async def test_each_role_may_do_what_it_says(start: Start, engines: tuple[Engine, Engine]) -> None:
    running = await start(one_engine(engines), Demo.NEVER)
    reader, user, nobody = await desk(running, Role.READ), await desk(running, Role.USE), Desk(running, "")
    for path in ("/v1.0/backends", "/v1.0/frontends", "/v1.0/health", "/v1.0/models"):
        assert ((await reader("GET", path))[0], (await user("GET", path))[0]) == (200, 200)
        assert (await nobody("GET", path))[0] == 401
        assert (await Desk(running, "a-token-that-nobody-made")("GET", path))[0] == 401
    for each in (reader, user):
        status, told = await each("PUT", "/v1.0/backends", {"Identifier": "x", "endpoint": "http://127.0.0.1:1"})
        assert (status, "needs admin" in told["Message"]) == (403, True)
        assert (await each("GET", "/v1.0/audit"))[0] == 403
        assert (await each("PUT", "/v1.0/tokens/mine", {"Role": "admin"}))[0] == 403


async def test_pages_of_others_are_refused_with_any_token_and_the_own_ones_need_one(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(one_engine(engines, server={"allowed_origins": ["https://chat.example.org"]}), Demo.NEVER)
    token = await running.daemon.admin.put_token("page", Role.ADMIN, OWNER)
    own, other = running.daemon.url, "https://chat.example.org"
    for origin, site, bearer, status in (
        (own, "same-origin", token, 200),
        (own, "same-origin", "a-token-that-nobody-made", 401),
        (own, "cross-site", token, 403),
        (other, "cross-site", token, 403),
    ):
        headers = {"Origin": origin, "Sec-Fetch-Site": site, "Authorization": f"Bearer {bearer}"}
        async with running.client.get(f"{own}/v1.0/backends", headers=headers) as reply:
            assert (reply.status, origin, site) == (status, origin, site)


async def test_tokens_open_the_daemons_address_as_their_role_says(
    start: Start, engines: tuple[Engine, Engine], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("the-own-token-of-the-daemon")
    (tmp_path / "token").chmod(0o600)
    running = await start(one_engine(engines, server={"auth": {"token_file": str(tmp_path / "token")}}), Demo.NEVER)
    reader, user = await desk(running, Role.READ), await desk(running, Role.USE)
    assert (await user("POST", "/v1/chat/completions", chat()))[0] == 200
    assert (await reader("POST", "/v1/chat/completions", chat()))[0] == 401
    assert (await reader("GET", "/status"))[0] == 200
    for each, status in ((reader, 401), (user, 200)):
        assert await each.on_a_websocket() == status, "what is asked there is inference"
    mode, off = ("/efficiency", {"mode": "Quiet"}), ("/backends/gpu", {"enabled": False})
    assert [(await user("POST", *change))[0] for change in (mode, off)] == [401, 401], "these are settings"
    assert (await (await desk(running))("POST", *mode))[0] == 200
    await running.daemon.admin.delete_token("use", OWNER)
    assert (await user("POST", "/v1/chat/completions", chat()))[0] == 401, "a token that is gone opens nothing"


async def test_no_token_is_kept_and_each_change_is_audited(
    start: Start, engines: tuple[Engine, Engine], tmp_path: Path
) -> None:
    running = await start(one_engine(engines), Demo.NEVER)
    ours = await desk(running)
    made = (await ours("PUT", "/v1.0/tokens/robot", {"Role": "use"}))[1]["Token"]
    await ours("PUT", "/v1.0/backends", {"Identifier": "new", "endpoint": engines[1].url, "type": "openai"})
    await ours("DELETE", "/v1.0/backends/new")
    rows = (await ours("GET", "/v1.0/audit"))[1]
    assert [(each["action"], each["kind"], each["name"]) for each in rows[:3]] == [
        ("delete", "backends", "new"),
        ("add", "backends", "new"),
        ("add", "tokens", "robot"),
    ]
    assert {(each["who"], each["place"]) for each in rows[:3]} == {("admin", "127.0.0.1")}
    assert made.encode() not in (tmp_path / "state" / "ollama-proxyd" / "admin.db").read_bytes()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"Identifier": "x", "endpoint": "nowhere"}, "is not an address"),
        ({"Identifier": "x"}, "this key is needed"),
        ({"Identifier": "x", "Hostname": "127.0.0.1", "Port": 1, "colour": 1}, "unknown key"),
        ({"Identifier": "x", "Hostname": "127.0.0.1", "Port": 1, "BearerToken": "s"}, "secrets are not kept here"),
        (
            {"Identifier": "x", "Hostname": "127.0.0.1", "Port": 1, "api_key_file": "/etc/passwd"},
            "only the daemon's own",
        ),
        ({"Identifier": "x", "Hostname": "127.0.0.1", "Port": 1, "unit": "a.service"}, "only the daemon's own"),
        ({"Hostname": "127.0.0.1"}, "Identifier is required"),
        ({"Identifier": 7}, "Identifier must be a text"),
        ({"Identifier": "x" * 65, "endpoint": "http://127.0.0.1:1"}, "an id of up to 64 letters"),
        ({"Identifier": "x", "endpoint": "http://127.0.0.1:1", "Name": "x" * 129}, "a name of up to 128 characters"),
        ({"Identifier": "x", "endpoint": "http://127.0.0.1:1", "Name": "a\x1b[2Jb"}, "without control characters"),
    ],
)
async def test_what_is_wrong_changes_nothing_and_says_why(
    start: Start, engines: tuple[Engine, Engine], body: dict[str, Any], says: str
) -> None:
    running = await start(one_engine(engines), Demo.NEVER)
    ours = await desk(running)
    status, told = await ours("PUT", "/v1.0/backends", body)
    assert status in {400, 403}
    assert says in told["Message"]
    assert len((await ours("GET", "/v1.0/backends"))[1]) == 1
    assert len((await ours("GET", "/v1.0/audit"))[1]) == 1, "only the token was made"


async def test_a_port_that_is_taken_leaves_nothing_behind(start: Start, engines: tuple[Engine, Engine]) -> None:
    running = await start(one_engine(engines), Demo.NEVER)
    ours, port = await desk(running), int(engines[1].url.rpartition(":")[2])
    status, told = await ours("PUT", "/v1.0/frontends", {"Identifier": "chat", "port": port})
    assert (status, "give it another port" in told["Message"]) == (503, True)
    assert (await ours("GET", "/v1.0/frontends"))[1] == []
    again = await start(one_engine(engines), Demo.NEVER)
    assert (await ask(again, "/status")).json["frontends"] == []


async def test_a_file_of_a_later_version_is_left_alone(
    start: Start, engines: tuple[Engine, Engine], tmp_path: Path, lines: list[str]
) -> None:
    folder = tmp_path / "state" / "ollama-proxyd"
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "admin.db") as file:
        file.execute("PRAGMA user_version = 99")
    running = await start(one_engine(engines), Demo.NEVER)
    assert any("written by a later version (schema 99)" in line for line in lines)
    assert (await ask(running, "/api/chat", chat())).status == 200
    with pytest.raises(Exception, match="nothing has changed"):
        await desk(running)


async def test_the_owner_needs_no_token_over_the_unix_socket(
    start: Start, engines: tuple[Engine, Engine], tmp_path: Path
) -> None:
    path = tmp_path / "own.sock"
    await start(one_engine(engines, server={"unix_socket": str(path)}), Demo.NEVER)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client:
        async with client.put("http://x/v1.0/tokens/first", json={"Role": "admin"}) as reply:
            assert (reply.status, set(await reply.json())) == (201, {"Name", "Role", "Token"})
        async with client.get("http://x/v1.0/audit") as reply:
            assert [each["who"] for each in await reply.json()] == ["the owner"]
