"""The pages beside chat and dashboard, in a real browser."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.browser.conftest import Engine
from tests.e2e.harness import Daemon

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]


def test_routing_tells_every_candidate_for_an_imagined_machine(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open("/ui/routing")
    expect(page.locator("#outcome th[scope=row]")).to_contain_text("scripted")
    page.locator("#mode").select_option("Efficiency")
    expect(page.locator("#outcome .reason")).to_contain_text("Efficiency")
    page.locator("#power").select_option("battery")
    expect(page.locator("#battery")).to_be_enabled()
    assert engine.script.asked == []


def test_requests_are_listed_without_a_word_of_them(visit: Any, engine: Engine, scripted_daemon: Daemon) -> None:
    page = visit(scripted_daemon).open("/ui/requests")
    chat = {"model": "scripted", "messages": [{"role": "user", "content": "a secret"}], "stream": True}
    scripted_daemon.post("/api/chat", chat)
    expect(page.locator("#requests tbody tr").first).to_contain_text("scripted")
    expect(page.locator("#requests tbody tr").first).to_contain_text("ok")
    assert "secret" not in page.content()


def test_an_error_of_a_pull_is_told_and_never_called_a_success(visit: Any, scripted_daemon: Daemon) -> None:
    page = visit(scripted_daemon).open("/ui/models")
    expect(page.locator("#models h2")).to_have_text(["scripted:latest"])
    lines = [{"status": "pulling", "total": 10, "completed": 5}, {"error": "no such file"}]
    told = "".join(json.dumps(each) + "\n" for each in lines)
    page.route("**/api/pull", lambda route: route.fulfill(body=told, content_type="application/x-ndjson"))
    page.locator("#pull-name").fill("x")
    page.locator("#pull .primary").click()
    expect(page.locator("#pull-says")).to_have_text("That did not work: no such file")
