"""Answers that mean harm: they do nothing in the page, and hold up neither it nor the daemon."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser.conftest import MOST_BLOCKS, Engine, answered, count_work, most_work, send
from tests.e2e.harness import Daemon

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]
SCRIPTS = """<script>window.hit = 1</script> <img src=x onerror="window.hit = 1"> <svg onload="window.hit = 1"></svg>
[click](javascript:window.hit=1) [click](JAVASCRIPT:window.hit=1) <a href="javascript:window.hit=1">click</a>
<iframe srcdoc="<script>parent.hit = 1</script>"></iframe> ![x](https://evil.example/pixel.png)
<form action="https://evil.example"><button>click</button></form> <style>* { display: none }</style>
<div id="content" hidden></div> <base href="https://evil.example/">
"""
SHAPES = {
    "a line of a megabyte": ["x" * 65536] * 16,
    "nested quotes": ["> " * 25_000] * 4,
    "nested lists": ["- " * 25_000] * 4,
    "a huge table": ["|a" * 200 + "|\n" + "|-" * 200 + "|\n", *["|1" * 200 + "|\n"] * 300],
    "brackets": ["[" * 10_000] * 4,
    "code without an end": ["```python\n", *["x = 'abc' + f(1)  # words\n" * 40] * 60],
    "many small blocks": ["# a\n\n- b\n\n"] * 4_000,
    "other directions": ["\u202e\u2066\u061c" * 1000 + "abc \u05d0" * 1000],
}


FREEZE_S = 10.0
MOST_LETTERS = 32_000
"""Twice what the page renders at once: the longest text that one of its tasks lays out, on any machine."""


@contextmanager
def others_asking(daemon: Daemon) -> Iterator[list[int]]:
    """The statuses of many small requests meanwhile."""
    told: list[int] = []
    done = Event()

    def look() -> None:
        while not done.wait(0.02):
            told.append(daemon.get("/healthz").status)

    thread = Thread(target=look)
    thread.start()
    try:
        yield told
    finally:
        done.set()
        thread.join()


def longest_pause_s(page: Page) -> float:
    """How long the page took no input at worst, since `count_pauses`."""
    found = page.evaluate("Math.max(0, ...window.pauses)")
    return float(found) / 1000


def count_pauses(page: Page) -> None:
    page.evaluate(
        """() => {
            window.pauses = [];
            let last = performance.now();
            const tick = new MessageChannel();
            tick.port1.onmessage = () => {
                const now = performance.now();
                window.pauses.push(now - last);
                last = now;
                setTimeout(() => tick.port2.postMessage(0), 10);
            };
            tick.port2.postMessage(0);
        }"""
    )


def test_scripts_and_markup_in_an_answer_are_only_shown(visit: Any, engine: Engine, scripted_daemon: Daemon) -> None:
    engine.script.says(*SCRIPTS, "\n\n", SCRIPTS)
    window = visit(scripted_daemon)
    page = window.open()
    asked_for: list[str] = []
    page.on("request", lambda request: asked_for.append(request.url))
    send(page, SCRIPTS)
    answered(page)
    expect(page.locator(".answer")).to_contain_text("<script>window.hit = 1</script>")
    for link in page.locator(".answer a").all():
        assert str(link.get_attribute("href")).startswith("https://evil.example")
    assert page.locator(".answer :is(script, img, svg, iframe, form, button, style, base)").count() == 0
    assert page.locator("#content").count() == 1
    page.reload()
    page.locator("#list .open").click()
    expect(page.locator(".answer")).to_contain_text("<iframe")
    assert page.evaluate("window.hit") is None
    assert [url for url in asked_for if not url.startswith(scripted_daemon.url)] == []


def test_a_script_that_got_in_would_still_be_stopped_by_the_policy(visit: Any, scripted_daemon: Daemon) -> None:
    window = visit(scripted_daemon)
    page = window.open()
    outcome = page.evaluate(
        """() => {
            try { document.body.innerHTML = "<b>x</b>"; return "written"; } catch (error) { return error.name; }
        }"""
    )
    assert outcome == "TypeError"
    assert any("TrustedHTML" in each for each in window.troubles)
    window.troubles.clear()


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_of_an_answer_freezes_page_or_daemon(
    visit: Any, engine: Engine, scripted_daemon: Daemon, shape: str
) -> None:
    page = visit(scripted_daemon).open()
    engine.script.says(*SHAPES[shape])
    count_pauses(page)
    count_work(page)
    with others_asking(scripted_daemon) as told:
        send(page, shape)
        answered(page)
        page.wait_for_function("() => document.querySelector('.answer').textContent.length > 100", timeout=40_000)
    most = most_work(page)
    assert most.blocks <= MOST_BLOCKS
    assert most.letters <= MOST_LETTERS
    assert longest_pause_s(page) < FREEZE_S
    assert set(told) == {200}
    assert "/nh3" not in Path(f"/proc/{scripted_daemon.pid}/maps").read_text(), "the worker's library, in the daemon"


def test_model_names_are_shown_as_text(visit: Any, engine: Engine, scripted_daemon: Daemon) -> None:
    page = visit(scripted_daemon).open()
    page.route(
        "**/api/tags",
        lambda route: route.fulfill(json={"models": [{"name": "<img src=x onerror=hit=1>", "size": 0, "details": {}}]}),
    )
    page.locator("#model").click()
    expect(page.locator(".choice-name")).to_have_text("<img src=x onerror=hit=1>")
    assert page.evaluate("window.hit") is None


def test_a_message_of_a_megabyte_freezes_the_page_as_little(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    page.evaluate("document.querySelector('#words').value = 'wörd '.repeat(200_000)")
    count_pauses(page)
    page.locator("#composer").evaluate("(form) => form.requestSubmit()")
    answered(page)
    expect(page.locator(".answer")).to_have_text("Hello.")
    assert len(engine.script.asked[-1]["messages"][-1]["content"]) > 990_000
    assert longest_pause_s(page) < FREEZE_S
