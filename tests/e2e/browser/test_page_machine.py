"""The page of the machine in a real browser: what it is made of, and what of it sleeps or is not known."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.harness import Daemon

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]
HOSTILE = "<img src=x onerror=hit=1>"
UNKNOWN = ("temperature_celsius", "power_watts", "utilisation_percent", "memory_total_bytes")
WHY = "the GPU is asleep and is not woken"


def test_the_machine_is_told_as_the_kernel_tells_it(visit: Any, scripted_daemon: Daemon) -> None:
    cpu = scripted_daemon.get("/machine").json()["cpu"]
    page = visit(scripted_daemon).open("/ui/machine")
    expect(page.locator("#sum")).to_contain_text(cpu["model"])
    expect(page.locator("#cores [data-kind]")).to_have_count(cpu["performance_cores"] + cpu["efficiency_cores"])
    expect(page.locator("#simd li")).to_have_text(cpu["simd"])
    expect(page.locator("#caches dt")).to_have_count(len(cpu["caches"]))
    expect(page.locator("#devices h3").first).to_be_visible()


def test_what_the_kernel_does_not_tell_is_unknown_with_its_reason(visit: Any, scripted_daemon: Daemon) -> None:
    told = scripted_daemon.get("/machine").json()
    told["cpu"] |= dict.fromkeys(("performance_cores", "efficiency_cores", "numa_nodes", "memory_bytes"))
    page = visit(scripted_daemon).open("/ui/models")
    page.route(lambda url: url.endswith("/machine") and "/ui/" not in url, lambda route: route.fulfill(json=told))
    page.locator(".pages a", has_text="Machine").click()
    expect(page.locator("#processor dd", has_text="the kernel does not tell it")).to_have_count(3)
    assert "null" not in page.locator("main").inner_text()


def test_a_sleeping_gpu_is_shown_asleep_and_never_by_a_zero(visit: Any, scripted_daemon: Daemon) -> None:
    status = scripted_daemon.get("/status").json()
    gpu = dict.fromkeys(status["devices"][0])
    gpu |= {"id": "0000:01:00.0", "hardware": "nvidia", "name": HOSTILE, "power_state": "asleep", "backends": [HOSTILE]}
    gpu["unknown"] = {key: {"reason": WHY} for key in UNKNOWN}
    page = visit(scripted_daemon).open("/ui/models")
    told = f"data: {json.dumps({**status, 'devices': [gpu]})}\n\n"
    page.route("**/status/events", lambda route: route.fulfill(body=told, content_type="text/event-stream"))
    page.locator(".pages a", has_text="Machine").click()
    card = page.locator("#devices > li")
    expect(card.locator(".chip")).to_have_text("asleep")
    expect(card.locator("h3")).to_have_text(HOSTILE)
    expect(card.locator(".figures")).to_be_hidden()
    card.locator("summary").click()
    expect(card.locator(".gaps p")).to_contain_text(WHY)
    assert page.evaluate("window.hit") is None
