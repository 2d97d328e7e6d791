"""A whole laptop: the service of the user's manager, UPower on its battery, and the GNOME Shell that shows it."""

import time
from typing import Any

import pytest

from ollama_proxyd.core.plausibility import SAMPLE_S
from tests.box.box import Box
from tests.box.desktop_in_box import picture
from tests.box.installation import MODEL
from tests.box.laptop_in_box import LaptopInBox
from tests.box.service import Service
from tests.desktop.gnome.desktop import MENU, TILE, TITLE
from tests.desktop.gnome.driver import Shell
from tests.e2e import tiny_model
from tests.e2e.harness import Reply

pytestmark = pytest.mark.real

MODES = ["Performance", "Balanced", "Efficiency", "Quiet", "Ultra Efficiency"]
"""What the tile says in Auto: the mode in force."""


def asked(service: Service) -> Reply:
    chat: dict[str, Any] = {"model": MODEL, "messages": tiny_model.HELLO}
    answer = service.ask("POST", "/v1/chat/completions", chat)
    assert answer.status == 200, answer.body
    return answer


def until_shown(shell: Shell, subtitle: str, reason: str) -> None:
    """Wait until the tile and its open menu say this."""
    shell.until(f"({TILE}.subtitle ?? '').includes({subtitle!r})")
    shell.until(f"driver.texts({MENU}.actor).some(text => text.includes({reason!r}))")


def says_twice(laptop: LaptopInBox, *, online: bool, percent: int) -> None:
    """The charger in or out; the battery says how full it is again, so that Auto need not wait for its silence."""
    laptop.set_power(online=online, percent=percent)
    time.sleep(1.2 * SAMPLE_S)
    laptop.set_power(online=online, percent=percent - 1)


def test_the_plug_is_pulled_and_the_next_request_and_the_desktop_follow(
    box: Box, service: Service, laptop: LaptopInBox, shell: Shell
) -> None:
    service.start()
    shell.eval(f"driver.openMenuOf({TITLE!r})")
    until_shown(shell, "Performance", "plugged in")
    assert asked(service).headers["x-backend-used"] == "fast"
    says_twice(laptop, online=False, percent=15)
    until_shown(shell, "Ultra Efficiency", "battery below ")
    answer = asked(service)
    assert answer.headers["x-backend-used"] == "thrifty"
    assert "Ultra Efficiency" in answer.headers["x-routing-reason"]
    picture(shell, box, "unplugged")
    says_twice(laptop, online=True, percent=90)
    until_shown(shell, "Performance", "plugged in")


def test_a_click_on_the_tile_has_the_users_manager_start_the_service(service: Service, shell: Shell) -> None:
    assert service.show("ActiveState") == "inactive"
    shell.eval("driver.openQuickSettings()")
    shell.until(f"{TILE}.subtitle === 'Not running'")
    shell.click(TILE)
    service.until("ActiveState", "active")
    shell.until(f"{TILE}.checked && {MODES}.includes({TILE}.subtitle)")
