"""The page of the models in a real browser: what is clicked there is done by an engine, or told why not."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from playwright.sync_api import Page, expect

from tests.e2e.browser.conftest import Engine, send
from tests.e2e.harness import Daemon, StartDaemon, config_of, wait_until
from tests.e2e.test_ollama_management import StandIn

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]


class Served:
    """An Ollama that keeps models, and the loop that it runs on."""

    def __init__(self) -> None:
        self.ollama = StandIn("calm:latest")
        self.loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._ready.wait(30)

    async def _serve(self) -> None:
        runner = web.AppRunner(self.ollama.app(), handler_cancellation=True, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._ended.wait()
        await runner.cleanup()

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)
        self.loop.close()


@pytest.fixture
def served() -> Iterator[Served]:
    """An Ollama with one model."""
    served = Served()
    yield served
    served.end()


@pytest.fixture
def page(visit: Any, served: Served, start_daemon: StartDaemon) -> Page:
    """The page of a daemon in front of it."""
    backend = {"id": "box", "endpoint": served.url, "type": "ollama", "hardware": "cpu"}
    shown: Page = visit(start_daemon(config_of(backend)).ready("calm")).open("/ui/models")
    expect(shown.locator("#models h2")).to_have_text(["calm:latest"])
    return shown


def pull(page: Page, name: str) -> None:
    page.locator("#pull-name").fill(name)
    page.locator("#pull-name").press("Enter")


def test_a_model_is_pulled_loaded_unloaded_and_deleted(page: Page, served: Served) -> None:
    pull(page, "tiny")
    expect(page.locator("#pull-says")).to_have_text("tiny is here.")
    expect(page.locator("#models h2")).to_have_text(["calm:latest", "tiny:latest"])
    tiny = page.locator("#models > li", has_text="tiny")
    tiny.get_by_role("button", name="Load tiny").click()
    expect(tiny).to_contain_text("in memory")
    assert served.ollama.loaded == {"tiny:latest"}
    tiny.get_by_role("button", name="Unload tiny").click()
    expect(tiny).not_to_contain_text("in memory")
    assert served.ollama.loaded == set()
    page.once("dialog", lambda dialog: dialog.dismiss())
    tiny.get_by_role("button", name="Delete tiny").click()
    expect(page.locator("#models h2")).to_have_text(["calm:latest", "tiny:latest"])
    page.once("dialog", lambda dialog: dialog.accept())
    tiny.get_by_role("button", name="Delete tiny").click()
    expect(page.locator("#models h2")).to_have_text(["calm:latest"])
    assert served.ollama.models == {"calm:latest"}


def test_a_pull_is_cancelled_and_the_engine_is_let_go(page: Page, served: Served) -> None:
    pull(page, "endless")
    expect(page.locator("#pull-says")).to_have_text("pulling manifest")
    expect(page.locator("#pull-bar")).to_be_visible()
    page.locator("#cancel").click()
    expect(page.locator("#pull-says")).to_contain_text("Cancelled")
    wait_until(served.ollama.left.is_set, "the engine is let go")
    expect(page.locator("#pull-bar")).to_be_hidden()


def test_a_pull_that_fails_is_told_in_the_engines_words(page: Page, served: Served) -> None:
    pull(page, "missing")
    expect(page.locator("#pull-says")).to_have_text("That did not work: file does not exist")
    assert served.ollama.models == {"calm:latest"}


def test_what_a_real_llama_server_cannot_do_is_told_and_nothing_is_called_done(visit: Any, daemon: Daemon) -> None:
    window = visit(daemon)
    page = window.open("/ui/models")
    model = page.locator("#models > li").first
    name = model.locator("h2").inner_text()
    page.once("dialog", lambda dialog: dialog.accept())
    refused: list[str] = []
    page.on("response", lambda reply: refused.append(reply.url) if reply.url.endswith("/api/delete") else None)
    with page.expect_response(lambda reply: bool(refused) and reply.url.endswith("/api/ps")):
        model.get_by_role("button", name="Delete").click()
    page.wait_for_timeout(500)  # the list has been read again, and the words are still there
    expect(page.locator("#notice")).to_contain_text("no backend here keeps models by requests")
    pull(page, "tiny")
    expect(page.locator("#pull-says")).to_contain_text("no backend here keeps models by requests")
    expect(page.locator("#models h2").first).to_have_text(name)
    window.troubles.clear()  # the refusals


def test_a_model_that_reads_no_pictures_says_so_at_the_button(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open("/ui/models")
    told = scripted_daemon.get("/api/tags").json()
    told["models"][0]["capabilities"] = ["completion"]
    page.route("**/api/tags", lambda route: route.fulfill(json=told))
    page.locator(".pages a", has_text="Chat").click()
    button = page.get_by_label("This model reads no pictures")
    expect(button).to_have_attribute("aria-disabled", "true")
    button.press("Enter")
    expect(page.locator("#notice")).to_have_text("This model reads no pictures.")
    told["models"][0]["capabilities"] = ["completion", "vision"]
    page.reload()
    expect(page.get_by_label("Add a picture")).to_have_attribute("aria-disabled", "false")
    send(page, "hello")
    expect(page.locator(".answer")).to_have_text("Hello.")
    assert engine.script.asked
