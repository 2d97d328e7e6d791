"""What the page itself costs: how soon the first words are seen, and that long answers leave it free."""

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.e2e.browser.conftest import Engine, answered, send
from tests.e2e.harness import Daemon

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]
TRIES = 5
BARE = """async () => {
    const body = JSON.stringify({ model: "scripted", messages: [{ role: "user", content: "go" }] });
    const begun = performance.now();
    const reply = await fetch("/api/chat", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    const reader = reply.body.getReader();
    await reader.read();
    const took = performance.now() - begun;
    while (!(await reader.read()).done);
    return took;
}"""
WATCH = """() => {
    window.seen = new Promise((done) => {
        const look = new MutationObserver(() => {
            const last = [...document.querySelectorAll(".answer")].at(-1);
            if (last?.textContent) { look.disconnect(); done(performance.now()); }
        });
        const begin = () => { window.begun = performance.now(); };
        document.querySelector("#words").addEventListener("keydown", begin, { once: true, capture: true });
        look.observe(document.querySelector("#messages"), { childList: true, subtree: true, characterData: true });
    });
}"""
COUNT = """() => {
    window.most = 0;
    new MutationObserver((changes) => {
        const inside = changes.filter((each) => each.target.className === "answer");
        const added = inside.flatMap((each) => [...each.addedNodes]);
        window.most = Math.max(window.most, added.length);
    }).observe(document.querySelector("#messages"), { childList: true, subtree: true });
}"""
"""The blocks that one task of the page lays out: what keeps it from being a long one, on any machine."""


def first_words_ms(page: Page) -> float:
    page.locator("#new").click()
    page.evaluate(WATCH)
    send(page, "go")
    took_ms = float(page.evaluate("window.seen.then((at) => at - window.begun)"))
    answered(page)
    return took_ms


def test_the_first_words_are_seen_soon_after_they_come(visit: Any, engine: Engine, scripted_daemon: Daemon) -> None:
    page = visit(scripted_daemon).open()
    bare_ms = min(float(page.evaluate(BARE)) for _ in range(TRIES))
    page_ms = min(first_words_ms(page) for _ in range(TRIES))
    assert page_ms < bare_ms + 100 * max(1.0, bare_ms / 10)  # 30 ms on a machine without other work


def test_an_answer_of_two_thousand_tokens_leaves_the_page_free(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    words = ["A sentence with *some* words. ", "And `code`.\n\n", "- an item\n- another\n\n", "## A head\n\n"]
    engine.script.says(*words * 500)
    page.evaluate(COUNT)
    send(page, "go")
    answered(page)
    page.wait_for_function("() => document.querySelectorAll('.answer h4').length === 500")
    assert page.locator(".answer > .block").count() > 1000
    assert page.evaluate("window.most") <= 20
