"""Debian's Chromium, pages of the daemon in it, and an engine that says what a test wants."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.e2e.harness import ROOT, Daemon, StartDaemon, backend, config_of
from tests.real_things import NOT_TRIED

PICTURES = ROOT / "test-artifacts" / "pages"
MOST_PIECES = 100_000


class Script:
    """What the engine says next, and what it was asked."""

    def __init__(self) -> None:
        self.pieces: list[str] = ["Hello."]
        self.asked: list[dict[str, Any]] = []
        self.go_on = threading.Event()
        self.holds_after: int | None = None
        """After so many pieces it waits until it may go on."""

    def says(self, *pieces: str, holds_after: int | None = None) -> None:
        self.pieces, self.holds_after = list(pieces), holds_after
        self.go_on.clear()


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Engine(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            told = json.dumps({"object": "list", "data": [{"id": "scripted", "object": "model"}]}).encode()
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def do_POST(self) -> None:
            script.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                for at, piece in enumerate(script.pieces):
                    if at == script.holds_after:
                        script.go_on.wait(30)
                    self.event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
                self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                pass
            self.close_connection = True

        def event(self, told: dict[str, Any]) -> None:
            whole = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "scripted", **told}
            self.wfile.write(b"data: " + json.dumps(whole).encode() + b"\n\n")

    return Engine


@dataclass
class Engine:
    """The engine's address, and its script."""

    url: str
    script: Script = field(default_factory=Script)


@pytest.fixture(scope="session")
def _engine() -> Iterator[Engine]:
    script = Script()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Engine(f"http://127.0.0.1:{server.server_address[1]}", script)
    script.go_on.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def engine(_engine: Engine) -> Iterator[Engine]:
    """An engine that has said nothing yet."""
    _engine.script.says("Hello.")
    _engine.script.asked.clear()
    yield _engine
    _engine.script.go_on.set()


def scripted(engine: Engine, **sections: Any) -> dict[str, Any]:
    """A configuration with that engine alone."""
    return config_of(backend("scripted", engine.url), **sections)


@pytest.fixture(scope="session")
def scripted_daemon(_engine: Engine, session_daemons: StartDaemon) -> Daemon:
    """A daemon in front of the scripted engine."""
    return session_daemons(scripted(_engine)).ready("scripted")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser, for one module: while it runs, its thread cannot run asynchronous tests."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip(f"{NOT_TRIED}no chromium; run: apt install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """A browser's window on the pages of a daemon; what goes wrong in a page fails the test."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context, self.url = context, url
        self.troubles: list[str] = []

    def open(self, path: str = "/") -> Page:
        page = self.context.new_page()
        page.set_default_timeout(40_000)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.goto(self.url + path)
        page.locator("#content").wait_for()
        return page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "net::ERR" not in message.text:
            self.troubles.append(message.text)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Any]:
    """Opens a window: `visit(daemon, **what Playwright's new_context takes)`."""
    visits: list[Visit] = []

    def start(daemon: Daemon, **options: Any) -> Visit:
        visits.append(Visit(browser.new_context(**{"locale": "en-GB", **options}), daemon.url))
        return visits[-1]

    yield start
    for each in visits:
        each.context.close()
    assert [trouble for each in visits for trouble in each.troubles] == []


def send(page: Page, words: str) -> None:
    """Type a message and send it."""
    page.locator("#words").fill(words)
    page.locator("#words").press("Enter")


ANSWERED_MS = 90_000
"""A machine that runs other tests too is slow; what is too slow is measured by ratios."""
expect.set_options(timeout=40_000)


def answered(page: Page) -> None:
    """Wait until no answer is under way."""
    page.locator('#log[aria-busy="false"]').wait_for()
    page.locator(".message.assistant").last.locator(".message-foot button").first.wait_for(timeout=ANSWERED_MS)


MOST_BLOCKS = 20
_COUNT = """() => {
    window.most = { blocks: 0, letters: 0 };
    const top = (each) => each.target.className === "answer";
    new MutationObserver((changes) => {
        const added = (some) => some.flatMap((each) => [...each.addedNodes]);
        const written = changes.filter((each) => each.type === "characterData").map((each) => each.target);
        const grown = [...new Set([...added(changes), ...written])];
        const letters = grown.reduce((sum, each) => sum + each.textContent.length, 0);
        window.most.blocks = Math.max(window.most.blocks, added(changes.filter(top)).length);
        window.most.letters = Math.max(window.most.letters, letters);
    }).observe(document.querySelector("#messages"), { childList: true, subtree: true, characterData: true });
}"""


class Work(NamedTuple):
    """The most that one task of the page laid out: what keeps each from being a long one, on any machine."""

    blocks: int
    letters: int


def count_work(page: Page) -> None:
    """Count from now on what is laid out."""
    page.evaluate(_COUNT)


def most_work(page: Page) -> Work:
    """What one task has laid out at most, since `count_work`."""
    return Work(**page.evaluate("window.most"))
