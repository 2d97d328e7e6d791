"""The admin API over what goes on: requests under way are shown and ended, models are pulled and deleted."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ollama_proxyd.app.sources import Demo
from ollama_proxyd.core.administration import Role
from ollama_proxyd.edges.host.network import SystemNetwork
from tests.app.conftest import Running, Start
from tests.app.test_admin_api import Desk, desk
from tests.app.two_engines import DOORS, Engine, Reply, ask, chat, config, two_engines


@pytest.fixture(autouse=True)  # before the daemon, so that they end after it
async def engines() -> AsyncIterator[tuple[Engine, Engine]]:
    async with two_engines() as both:
        yield both


async def until(ours: Desk, path: str, says: Callable[[Any], bool]) -> Any:
    """What is told, as soon as it says so."""
    async with asyncio.timeout(60):
        while not says(told := (await ours("GET", path))[1]):  # noqa: ASYNC110 a client can only ask again
            await asyncio.sleep(0.01)
    return told


async def sessions(ours: Desk, number: int) -> list[dict[str, Any]]:
    """Those under way, once so many are at a backend."""
    is_there: Callable[[Any], bool] = lambda told: [each["State"] != "waiting" for each in told] == [True] * number  # noqa: E731
    return list(await until(ours, "/v1.0/sessions", is_there))


def begin(running: Running, path: str, name: str, backend: str, **fields: Any) -> asyncio.Task[Reply]:
    asked = ask(running, path, chat(**fields), X_Request_ID=name, X_Target_Backend=backend)
    return asyncio.create_task(asked)


async def test_a_request_under_way_is_shown_with_its_backend_and_is_gone_when_it_ended(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(config(engines), Demo.NEVER)
    ours = await desk(running, Role.READ)
    assert await ours("GET", "/v1.0/sessions") == (200, [])
    engines[0].may_answer.clear()
    asked = begin(running, "/api/chat", "mine", "gpu")
    (told,) = await sessions(ours, 1)
    assert (told["Identifier"], told["Backend"], told["Model"], told["State"]) == ("mine", "gpu", "small:1b", "asked")
    assert told["Operation"] == "chat"
    assert told["SinceUnix"] > 0
    assert told["Seconds"] >= 0
    assert "hello" not in json.dumps(told), "no word of a prompt is told"
    assert (await ours("GET", "/v1.0/sessions/mine"))[0] == 200
    engines[0].may_answer.set()
    assert (await asked).status == 200
    assert await ours("GET", "/v1.0/sessions") == (200, [])
    assert (await ours("GET", "/v1.0/sessions/mine"))[0] == 404


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_ended_request_tells_its_client_and_frees_its_slot_and_the_others_go_on(
    start: Start, engines: tuple[Engine, Engine], path: str, streamed: bool
) -> None:
    running = await start(config(engines), Demo.NEVER)
    ours = await desk(running)
    engines[1].may_answer.clear()
    ended = begin(running, path, "ended", "npu", stream=streamed)
    others = [begin(running, DOORS[n % 2], f"other{n}", "npu", stream=bool(n % 3)) for n in range(3)]
    await sessions(ours, 4)
    assert await ours("DELETE", "/v1.0/sessions/ended") == (200, {"removedSessionCount": 1})
    reply = await ended
    assert "an administrator of this proxy ended the request" in reply.text
    assert reply.status == (200 if streamed else 403), "a stream that has begun says it in its last frame"
    assert {each["Identifier"] for each in await sessions(ours, 3)} == {"other0", "other1", "other2"}
    assert running.services.fleet.view("npu").in_flight == 3
    engines[1].may_answer.set()
    assert {(await each).status for each in others} == {200}
    (row,) = [each for each in (await ask(running, "/requests")).json if each["request_id"] == "ended"]
    assert (row["ended"], row["backend"]) == ("forbidden", "npu")
    assert running.services.fleet.view("npu").health.value == "up", "the backend is not to blame"
    rows = (await ours("GET", "/v1.0/audit"))[1]
    assert (rows[0]["who"], rows[0]["action"], rows[0]["kind"], rows[0]["name"]) == (
        "admin",
        "end",
        "sessions",
        "ended",
    )


async def test_one_that_waits_in_the_queue_can_be_ended_and_all_can(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    wanted = config(engines)
    wanted["backends"][0]["slots"] = 1
    running = await start({**wanted, "backends": wanted["backends"][:1]}, Demo.NEVER)
    ours = await desk(running)
    engines[0].may_answer.clear()
    asked = [begin(running, "/api/chat", f"r{n}", "gpu") for n in range(20)]
    states = [each["State"] for each in await until(ours, "/v1.0/sessions", lambda told: len(told) == 20)]
    assert (states.count("asked"), states.count("waiting")) == (1, 19)
    assert await ours("DELETE", "/v1.0/sessions") == (200, {"removedSessionCount": 20})
    assert {(await each).status for each in asked} == {403}
    assert running.services.admission.waiting.value == 0
    engines[0].may_answer.set()
    assert (await ask(running, "/api/chat", chat())).status == 200


async def pulled(ours: Desk) -> dict[str, Any]:
    return dict(await until(ours, "/v1.0/models", lambda told: not told["Pulls"]))


async def test_a_model_is_pulled_at_a_backend_and_deleted_again(start: Start, engines: tuple[Engine, Engine]) -> None:
    running = await start(config(engines), Demo.NEVER)
    ours = await desk(running)
    assert await ours("PUT", "/v1.0/models/small:1b?backend=gpu") == (
        200,
        {"Name": "small:1b", "Backend": "gpu", "Why": "the target", "State": "held"},
    )
    engines[0].may_end.clear()
    status, told = await ours("PUT", "/v1.0/models/hf.co%2Fx%2Fnew:3b")
    assert (status, told["Name"], told["Backend"], told["State"]) == (202, "hf.co/x/new:3b", "gpu", "asked")
    told = await until(ours, "/v1.0/models", lambda told: any(each["CompletedBytes"] for each in told["Pulls"]))
    pulls = told["Pulls"]
    assert (pulls[0]["Name"], pulls[0]["State"], pulls[0]["TotalBytes"]) == ("hf.co/x/new:3b", "pulling", 100)
    engines[0].may_end.set()
    names = {each["Name"] for each in (await pulled(ours))["Models"]}
    assert "hf.co/x/new:3b" in names
    assert await ours("DELETE", "/v1.0/models/hf.co%2Fx%2Fnew:3b") == (204, None)
    assert engines[0].deleted == ["hf.co/x/new:3b"]
    assert "hf.co/x/new:3b" not in {each["Name"] for each in (await pulled(ours))["Models"]}
    status, told = await ours("DELETE", "/v1.0/models/never:1b")
    assert (status, "not found" in told["Message"]) == (404, True)
    rows = [(each["action"], each["name"]) for each in (await ours("GET", "/v1.0/audit"))[1]]
    assert ("pull", "hf.co/x/new:3b at gpu") in rows
    assert ("delete", "hf.co/x/new:3b at gpu") in rows


async def test_a_pull_that_fails_is_told_and_can_be_withdrawn(start: Start, engines: tuple[Engine, Engine]) -> None:
    engines[0].pull_ends = [{"error": "file does not exist"}]
    running = await start(config(engines), Demo.NEVER)
    ours = await desk(running)
    assert (await ours("PUT", "/v1.0/models/typo:3b?backend=gpu"))[0] == 202
    told = await until(ours, "/v1.0/models", lambda told: any(each["State"] == "failed" for each in told["Pulls"]))
    assert "file does not exist" in told["Pulls"][0]["Reason"]
    assert await ours("DELETE", "/v1.0/models/typo:3b") == (204, None)
    assert (await ours("GET", "/v1.0/models"))[1]["Pulls"] == []
    assert engines[0].asked_to_delete == []
    rows = [(each["action"], each["name"]) for each in (await ours("GET", "/v1.0/audit"))[1]]
    assert ("delete", "typo:3b at gpu") in rows


@pytest.mark.parametrize("is_failed", [False, True])
async def test_a_pull_goes_on_at_the_address_that_its_backend_has_now(
    start: Start, engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch, is_failed: bool
) -> None:
    monkeypatch.setattr("ollama_proxyd.core.model_sync.FIRST_PAUSE_S", 3600.0)
    old, new = engines
    if is_failed:
        old.pull_ends = [{"error": "no space left"}]
    else:
        old.may_end.clear()
    running = await start({**config(engines), "backends": []}, Demo.NEVER)
    ours, wanted = await desk(running), {"type": "ollama", "endpoint": old.url}
    assert (await ours("PUT", "/v1.0/backends/box", wanted))[0] == 201
    assert (await ours("PUT", "/v1.0/models/new:3b?backend=box"))[0] == 202
    stage = "failed" if is_failed else "pulling"
    await until(ours, "/v1.0/models", lambda told: any(each["State"] == stage for each in told["Pulls"]))
    assert (await ours("PUT", "/v1.0/backends/box", {**wanted, "labels": ["x"]}))[0] == 200
    assert (old.pulls, new.pulls) == (["new:3b"], []), "what has the same address goes on"
    assert (await ours("PUT", "/v1.0/backends/box", {**wanted, "endpoint": new.url}))[0] == 200
    assert ("new:3b", ["box"]) in [(each["Name"], each["Backends"]) for each in (await pulled(ours))["Models"]]
    assert (old.pulls, new.pulls) == (["new:3b"], ["new:3b"])
    old.may_end.set()


async def test_what_a_front_end_requires_is_not_deleted(start: Start, engines: tuple[Engine, Engine]) -> None:
    frontend = {"name": "chat", "hosts": ["chat.test"], "required_models": ["small:1b"]}
    running = await start(config(engines, frontend), Demo.NEVER)
    ours = await desk(running)
    status, told = await ours("DELETE", "/v1.0/models/small:1b")
    assert (status, "a front end requires small:1b at gpu" in told["Message"]) == (400, True)
    assert engines[0].deleted == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1.0/sessions"),
        ("DELETE", "/v1.0/sessions/x"),
        ("PUT", "/v1.0/models/x"),
        ("DELETE", "/v1.0/models/x"),
    ],
)
async def test_only_an_admin_ends_requests_and_changes_models(
    start: Start, engines: tuple[Engine, Engine], method: str, path: str
) -> None:
    running = await start(config(engines), Demo.NEVER)
    for role in (Role.READ, Role.USE):
        status, told = await (await desk(running, role))(method, path)
        assert (status, "needs admin" in told["Message"]) == (403, True)
    assert (await Desk(running, "")(method, path))[0] == 401
    assert (engines[0].pulls, engines[0].deleted) == ([], [])


async def test_nothing_is_pulled_over_a_metered_connection_unless_asked(
    start: Start, engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_metered(_: SystemNetwork) -> bool:
        return True

    monkeypatch.setattr(SystemNetwork, "is_metered", is_metered)
    running = await start(config(engines), Demo.NEVER)
    ours = await desk(running)
    assert (await ours("PUT", "/v1.0/models/new:3b?backend=gpu"))[0] == 202
    await until(ours, "/v1.0/models", lambda told: any(each["Reason"] for each in told["Pulls"]))
    (told,) = (await ask(running, "/status")).json["model_sync"]
    assert (told["state"], told["reason_code"]) == ("waiting", "pull_waits_for_network")
    assert engines[0].pulls == []
    await running.rewrite(config(engines, model_sync={"on_metered": True}))
    assert "new:3b" in {each["Name"] for each in (await pulled(ours))["Models"]}
    assert engines[0].pulls == ["new:3b"], "what was asked for lasts over a reload"
