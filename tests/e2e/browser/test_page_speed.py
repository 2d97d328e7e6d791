"""What the page itself costs: the first words are seen as they come, and that long answers leave it free."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.browser.conftest import MOST_BLOCKS, Engine, answered, count_work, most_work, send
from tests.e2e.harness import Daemon

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]


def test_the_first_words_are_seen_as_they_come_with_no_clock_and_no_rendering_in_their_way(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    page.route("**/ui/render", lambda route: None)
    page.clock.install()
    page.clock.pause_at(datetime.now(tz=UTC) + timedelta(hours=1))
    engine.script.says("The first", " words", holds_after=1)
    send(page, "go")
    expect(page.locator(".answer")).to_have_text("The first")
    page.unroute_all(behavior="ignoreErrors")


def test_an_answer_of_two_thousand_tokens_leaves_the_page_free(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    words = ["A sentence with *some* words. ", "And `code`.\n\n", "- an item\n- another\n\n", "## A head\n\n"]
    engine.script.says(*words * 500)
    count_work(page)
    send(page, "go")
    answered(page)
    page.wait_for_function("() => document.querySelectorAll('.answer h4').length === 500")
    assert page.locator(".answer > .block").count() > 1000
    assert most_work(page).blocks <= MOST_BLOCKS
