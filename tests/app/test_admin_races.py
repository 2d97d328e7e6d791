"""The admin API beside what happens at the same time: reloads, clients that leave, a store that is locked."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.app.administration import load_with
from ollama_proxyd.app.launch_options import LaunchOptions
from ollama_proxyd.app.sources import Demo
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.administration import Change, Entry, Kind, Role, Who
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.storage import admin_file
from ollama_proxyd.edges.storage.admin_file import AdminFile
from tests.app.conftest import Running, Start
from tests.app.two_engines import Engine, config, two_engines
from tests.fakes import settle

ADMIN = "state/ollama-proxyd/admin.db"
OWNER = Who("the owner", "here")


@pytest.fixture(autouse=True)  # before the daemon, so that they end after it
async def engines() -> AsyncIterator[tuple[Engine, Engine]]:
    async with two_engines() as both:
        yield both


def first(engines: tuple[Engine, Engine], *frontends: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The file names one of the two engines."""
    wanted = config(engines, *frontends, **more)
    return {**wanted, "backends": wanted["backends"][:1]}


def second(engines: tuple[Engine, Engine], **more: Any) -> Entry:
    """The other one is added."""
    return Entry(Kind.BACKENDS, "new", {"endpoint": engines[1].url, "type": "openai", **more})


def frontends(running: Running) -> list[str]:
    return [each.name for each in running.daemon._config.frontends]


def slowly(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Something happens while a change is being kept."""
    put = AdminFile.put

    async def slow(self: AdminFile, entry: Entry, change: Change) -> None:
        await meanwhile()
        await put(self, entry, change)

    monkeypatch.setattr(AdminFile, "put", slow)


async def test_a_reload_in_the_middle_of_a_change_stays_in_force(
    start: Start, engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(first(engines), Demo.NEVER)
    changed = first(engines, {"name": "kiosk", "hosts": ["kiosk.test"]})
    slowly(monkeypatch, lambda: running.rewrite(changed))
    await running.daemon.admin.put(second(engines), OWNER)
    assert (running.services.fleet.has("new"), frontends(running)) == (True, ["kiosk"])


async def test_a_file_that_breaks_in_the_middle_of_a_change_leaves_nothing_of_it(
    start: Start, engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running = await start(first(engines), Demo.NEVER)

    async def breaks() -> None:
        running.write({"server": {"prt": 1}})

    slowly(monkeypatch, breaks)
    with pytest.raises(Exception, match=r"server\.prt: unknown key"):
        await running.daemon.admin.put(second(engines), OWNER)
    running.write(first(engines))
    assert not running.services.fleet.has("new")
    assert not (await AdminFile(tmp_path / ADMIN).read()).entries


async def test_of_a_change_that_fails_by_a_fault_nothing_is_kept(
    start: Start, engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running = await start(first(engines), Demo.NEVER)

    async def fails(_: object) -> None:
        raise OSError("no more files")

    monkeypatch.setattr(running.daemon._frontends, "put", fails)
    with pytest.raises(OSError, match="no more files"):
        await running.daemon.admin.put(second(engines), OWNER)
    assert not running.daemon.admin.entries
    assert not (await AdminFile(tmp_path / ADMIN).read()).entries


async def test_a_change_whose_client_leaves_in_the_middle_is_made_as_a_whole(
    start: Start, engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, begun, may_go_on = await start(first(engines), Demo.NEVER), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await may_go_on.wait()

    slowly(monkeypatch, wait)
    token = await running.daemon.admin.put_token("boss", Role.ADMIN, OWNER)
    entry = second(engines)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
        asking = asyncio.create_task(client.put(f"{running.daemon.url}/v1.0/backends/new", json=entry.values))
        await begun.wait()
        asking.cancel()
    await settle()  # the server has seen that the client is gone
    may_go_on.set()
    await running.until(running.services.fleet.views, lambda views: len(views) == 2)
    await running.daemon.admin.delete(Kind.BACKENDS, "new", OWNER)
    assert not running.services.fleet.has("new")


async def test_a_store_that_is_locked_takes_nothing_out_of_a_reload(
    start: Start, engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(admin_file, "LOCKED_FOR_S", 0.01)
    running = await start(first(engines), Demo.NEVER)
    await running.daemon.admin.put(second(engines), OWNER)
    with sqlite3.connect(tmp_path / ADMIN, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        await running.rewrite(first(engines, {"name": "kiosk", "hosts": ["kiosk.test"]}))
        other.execute("ROLLBACK")
    assert (running.services.fleet.has("new"), frontends(running)) == (True, ["kiosk"])


async def test_an_addition_that_the_file_came_to_contradict_is_in_the_way_of_no_other_change(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(first(engines), Demo.NEVER)
    admin = running.daemon.admin
    for name in ("one", "two"):
        await admin.put(_frontend(name, f"{name}.test"), OWNER)
    await running.rewrite(first(engines, {"name": "kiosk", "hosts": ["one.test"]}))
    await admin.put(_frontend("two", "second.test"), OWNER)
    await admin.put(_frontend("three", "three.test"), OWNER)
    await admin.delete(Kind.FRONTENDS, "three", OWNER)
    assert frontends(running) == ["kiosk", "two"]
    with pytest.raises(Exception, match=r"one\.test leads to the front end kiosk already, and to two"):
        await admin.put(_frontend("two", "one.test"), OWNER)
    await running.rewrite(first(engines))
    assert frontends(running) == ["one", "two"]


async def test_a_change_that_leaves_no_room_for_an_earlier_one_is_refused(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(first(engines), Demo.NEVER)
    admin = running.daemon.admin
    for name in ("one", "two", "three"):
        await admin.put(_frontend(name, f"{name}.test"), OWNER)
    await running.rewrite(first(engines, {"name": "kiosk", "hosts": ["three.test"]}))
    with pytest.raises(Exception, match=r"two\.test leads to the front end one already, and to two"):
        await admin.put(_frontend("one", "two.test"), OWNER)
    assert frontends(running) == ["kiosk", "one", "two"]


@pytest.mark.parametrize("is_contradicted", [False, True])
async def test_a_change_that_takes_from_an_earlier_one_what_it_needs_is_refused(
    start: Start, engines: tuple[Engine, Engine], is_contradicted: bool
) -> None:
    running = await start(first(engines), Demo.NEVER)
    admin = running.daemon.admin
    await admin.put(_frontend("other", "other.test"), OWNER)
    await admin.put(second(engines, labels=["quick"]), OWNER)
    await admin.put(_frontend("shop", "shop.test", backend_labels=["quick"]), OWNER)
    if is_contradicted:
        await running.rewrite(first(engines, {"name": "kiosk", "hosts": ["other.test"]}))
    others = frontends(running)
    with pytest.raises(ProxyError, match="no backend has quick among its labels; shop would have none"):
        await admin.delete(Kind.BACKENDS, "new", OWNER)
    with pytest.raises(ProxyError, match="no backend has quick among its labels; shop would have none"):
        await admin.put(second(engines), OWNER)
    assert (running.services.fleet.has("new"), frontends(running)) == (True, others)


async def test_what_a_change_gives_to_one_that_was_left_out_takes_it_in(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    labelled = first(engines)
    labelled["backends"][0]["labels"] = ["quick"]
    running = await start(labelled, Demo.NEVER)
    admin = running.daemon.admin
    for name in ("other", "shop"):
        await admin.put(_frontend(name, f"{name}.test", backend_labels=["quick"]), OWNER)
    await running.rewrite(first(engines, {"name": "kiosk", "hosts": ["other.test"]}))
    assert frontends(running) == ["kiosk"]
    await admin.put(second(engines, labels=["quick"]), OWNER)
    assert frontends(running) == ["kiosk", "shop"]


def test_of_many_additions_those_that_the_file_contradicts_are_found_in_few_looks(tmp_path: Path) -> None:
    file, looks = tmp_path / "config.json", list[int]()
    file.write_text(json.dumps({"frontends": [{"name": "kiosk", "hosts": ["shop7.test"]}]}))
    options = LaunchOptions({"HOME": str(tmp_path)}, file)

    def load(entries: Sequence[Entry]) -> Config:
        looks.append(len(entries))
        return options.load_with(entries)

    config = load_with(load, [_frontend(f"shop{at}", f"shop{at}.test") for at in range(64)])
    left = [f"shop{at}" for at in range(64) if at != 7]
    assert [each.name for each in config.frontends] == ["kiosk", *left]
    assert len(looks) < 20


def _frontend(name: str, host: str, **more: Any) -> Entry:
    return Entry(Kind.FRONTENDS, name, {"hosts": [host], **more})
