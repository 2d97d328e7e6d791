"""The page of the energy in a real browser: whose it was, over which time, and how it is known."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.browser.conftest import Engine
from tests.e2e.harness import Daemon

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]
HOSTILE = "<img src=x onerror=hit=1>"


def test_energy_is_told_by_backend_model_and_program_over_a_day_and_a_month(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    chat = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}], "stream": False}
    scripted_daemon.post("/api/chat", chat)
    page = visit(scripted_daemon).open("/ui/energy")
    expect(page.locator("#rows tbody tr").first).to_contain_text("scripted")
    expect(page.locator("#sum")).to_contain_text("estimated ±")
    assert page.locator("#chart g[data-source=estimated]").count() == 1
    page.get_by_role("button", name="30 days").click()
    expect(page.locator("#chart-title")).to_have_text("Day by day")
    expect(page.locator("#chart g")).to_have_count(30)
    page.get_by_role("button", name="Models").click()
    expect(page.locator("#rows tbody tr").first).to_contain_text("scripted")
    page.reload()
    expect(page.get_by_role("button", name="Models")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#chart g")).to_have_count(30)
    page.get_by_role("button", name="Programs").press("Enter")
    expect(page.locator("#rows-title")).to_have_text("Programs")
    page.locator("summary").click()
    expect(page.locator("#columns tbody tr")).to_have_count(1)


def test_what_is_not_known_of_the_battery_says_why(visit: Any, scripted_daemon: Daemon) -> None:
    page = visit(scripted_daemon).open("/ui/energy")
    why = scripted_daemon.get("/status").json()["system"]["unknown"]["battery_percent"]["reason"]
    expect(page.locator("#battery")).to_contain_text("unknown")
    expect(page.locator("#battery")).to_contain_text(why)


def test_names_of_models_are_shown_as_text(visit: Any, scripted_daemon: Daemon) -> None:
    told = scripted_daemon.get("/energy/series?by=model").json()
    told["rows"] = [{**told["total"], "key": HOSTILE, "energy_joules": 8.0, "estimated_joules": 8.0}]
    told["columns"][3] |= {"energy_joules": 8.0, "energy_source": "estimated", "parts": {HOSTILE: 8.0}}
    page = visit(scripted_daemon).open("/ui/models")
    page.route("**/energy/series?*", lambda route: route.fulfill(json=told))
    page.locator(".pages a", has_text="Energy").click()
    expect(page.locator("#rows tbody th").first).to_have_text(HOSTILE)
    expect(page.locator("#chart-legend")).to_contain_text(HOSTILE)
    assert page.evaluate("window.hit") is None
