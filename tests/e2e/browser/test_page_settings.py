"""The page of the settings in a real browser: two tabs, a reload in the middle, and what the file owns."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ollama_proxyd.cli.client import UnixConnection
from tests.e2e.browser.conftest import Engine, scripted
from tests.e2e.harness import Daemon, StartDaemon, wait_until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]
RESET = dict.fromkeys(("quiet_hours_start", "low_battery_percent", "critical_battery_percent"))


@pytest.fixture
def daemon(scripted_daemon: Daemon) -> Iterator[Daemon]:
    """The daemon, with all as the file says again afterwards."""
    yield scripted_daemon
    scripted_daemon.post("/settings", RESET)
    scripted_daemon.post("/api/features", {"feature": "prefix_cache", "enabled": False})


def settings(daemon: Daemon) -> Any:
    return daemon.get("/settings").json()["settings"]


def fill(page: Page, key: str, value: str) -> None:
    page.locator(f"#{key}").fill(value)


def test_a_change_applies_at_once_is_seen_in_another_tab_and_goes_back_to_the_files(visit: Any, daemon: Daemon) -> None:
    window = visit(daemon)
    here, there = window.open("/ui/settings"), window.open("/ui/settings")
    expect(there.locator("#quiet_hours_start")).to_have_value("22:00")
    expect(here.locator("#tuning-keep")).to_be_disabled()
    fill(here, "quiet_hours_start", "21:30")
    here.locator("#tuning-keep").click()
    expect(here.locator("#tuning-says")).to_have_text("Applied.")
    assert settings(daemon)["quiet_hours_start"] == "21:30"
    expect(there.locator("#quiet_hours_start")).to_have_value("21:30")
    expect(there.locator("#quiet_hours_start-note")).to_have_text("changed; the file says 22:00")
    there.get_by_label("As the file says: Quiet from").click()
    expect(here.locator("#quiet_hours_start")).to_have_value("22:00")
    assert settings(daemon)["quiet_hours_start"] == "22:00"


def test_what_a_person_is_about_to_change_is_not_taken_away_by_another_tab(visit: Any, daemon: Daemon) -> None:
    page = visit(daemon).open("/ui/settings")
    expect(page.locator("#low_battery_percent")).to_have_value("50")
    fill(page, "low_battery_percent", "45")
    daemon.post("/settings", {"low_battery_percent": 40})
    expect(page.locator("#low_battery_percent-note")).to_have_text("meanwhile elsewhere: 40")
    expect(page.locator("#low_battery_percent")).to_have_value("45")
    page.locator("#tuning-leave").click()
    expect(page.locator("#low_battery_percent")).to_have_value("40")


def admin_token(own: Path) -> str:
    """A token, made as the daemon's own user makes one."""
    owner = UnixConnection(str(own))
    owner.request("PUT", "/v1.0/tokens/page", json.dumps({"Role": "admin"}), {"Content-Type": "application/json"})
    try:
        return str(json.load(owner.getresponse())["Token"])
    finally:
        owner.close()


def test_a_front_end_is_added_changed_and_removed_with_a_token_and_not_without(
    visit: Any, engine: Engine, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon = start_daemon(scripted(engine, server={"unix_socket": str(tmp_path / "own.sock")})).ready("scripted")
    window = visit(daemon)
    page = window.open("/ui/settings")
    page.get_by_text("Add, change or remove one").click()
    for key, value in (("token", "a-token-that-nobody-made"), ("name", "kids"), ("hosts", "kids.test, tablet.test")):
        fill(page, f"frontend-{key}", value)
    apply = page.locator("#frontend .primary")
    apply.click()
    expect(page.locator("#frontend-error")).to_have_text("That token is not the one.")
    fill(page, "frontend-token", admin_token(tmp_path / "own.sock"))
    apply.click()
    expect(page.locator("#frontends tbody tr")).to_contain_text("kids.test, tablet.test")
    fill(page, "frontend-models", "scripted")
    apply.click()
    expect(page.locator("#frontends tbody tr")).to_contain_text("scripted")
    fill(page, "frontend-hosts", "not a host")
    apply.click()
    expect(page.locator("#frontend-error")).to_contain_text("hosts")
    page.locator("#frontend-remove").click()  # the question is answered with no
    expect(page.locator("#frontends tbody tr")).to_contain_text("scripted")
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#frontend-remove").click()
    expect(page.locator("#frontends-none")).to_be_visible()
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    expect(page.locator("#frontend-token")).to_have_value("")
    refused = [each for each in window.troubles if "status of 40" in each]
    assert (len(refused), window.troubles) == (2, refused), "the browser's own lines for what was refused"
    window.troubles.clear()


def test_a_contradiction_is_told_and_nothing_has_changed(visit: Any, daemon: Daemon) -> None:
    window = visit(daemon)
    page = window.open("/ui/settings")
    before = settings(daemon)
    expect(page.locator("#critical_battery_percent")).to_have_value("20")
    fill(page, "critical_battery_percent", "60")
    page.locator("#tuning-keep").click()
    expect(page.locator("#tuning-error")).to_contain_text("is not below low_battery_percent")
    assert settings(daemon) == before
    expect(page.locator("#critical_battery_percent")).to_have_value("60")
    window.troubles.clear()  # the refusal


def test_a_feature_is_switched_kept_and_says_what_it_does_at_each_backend(visit: Any, daemon: Daemon) -> None:
    window = visit(daemon)
    page, other = window.open("/ui/settings"), window.open("/ui/settings")
    prefix = page.locator('[data-feature="prefix_cache"]')
    page.locator("#keep").check()
    prefix.get_by_role("switch").press("Space")
    expect(prefix.locator(".chip").first).to_have_text("in force")
    expect(prefix.get_by_role("switch")).to_be_focused()
    expect(prefix).to_contain_text("kept over restarts")
    expect(other.locator('[data-feature="prefix_cache"]')).to_contain_text("in force")
    prefix.locator("summary").click()
    expect(prefix.locator("tbody tr")).to_contain_text("routing counts what each backend has read")
    mlock = page.locator('[data-feature="mlock_weights"]')
    mlock.get_by_role("switch").click()
    expect(mlock.locator(".chip").first).to_have_text("asked for, but nothing here does it")
    mlock.get_by_role("switch").click()
    expect(mlock.locator(".chip").first).to_have_text("off")


def test_the_file_is_shown_with_where_each_value_is_from_and_follows_a_reload(
    visit: Any, engine: Engine, start_daemon: StartDaemon
) -> None:
    quiet = {"quiet_hours": {"start": "23:15"}}
    config = scripted(engine, efficiency=quiet, frontends=[{"name": "kids", "hosts": ["kids.local"]}])
    daemon = start_daemon(config).ready("scripted")
    page = visit(daemon).open("/ui/settings")
    expect(page.locator("#file-path")).to_have_text(str(daemon.config_file))
    row = page.locator("#file tbody tr", has_text="efficiency.quiet_hours.start")
    expect(row).to_contain_text("23:15")
    expect(row).to_contain_text("config.yaml:")
    expect(page.locator("#frontends tbody tr")).to_contain_text("kids.local")
    expect(page.locator("#frontends tbody tr")).to_contain_text("the file")
    fill(page, "low_battery_percent", "45")
    quiet["quiet_hours"]["start"] = "20:45"
    daemon.write_config(config)
    daemon.signal(signal.SIGHUP)
    expect(page.locator("#quiet_hours_start")).to_have_value("20:45")
    expect(row).to_contain_text("20:45")
    expect(page.locator("#low_battery_percent")).to_have_value("45")


def test_pages_of_others_change_nothing(daemon: Daemon) -> None:
    before = settings(daemon)
    for path, body in (
        ("/settings", {"low_battery_percent": 33}),
        ("/api/features", {"feature": "batching", "enabled": True}),
    ):
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
            assert daemon.post(path, body, headers).status == 403
    assert settings(daemon) == before
    assert daemon.get("/status").json()["wanted_features"] == []


def test_the_language_is_chosen_for_this_browser(visit: Any, daemon: Daemon) -> None:
    page = visit(daemon).open("/ui/settings")
    page.locator("#language").select_option("de")
    expect(page.locator("h1")).to_have_text("Einstellungen")
    page.locator("#language").select_option("")
    expect(page.locator("h1")).to_have_text("Settings")
    wait_until(lambda: page.evaluate("document.documentElement.lang") == "en", "the page is English again")
