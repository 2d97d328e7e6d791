"""Each page in each theme and width: pictures to look at, nothing cut off, and no barrier that axe-core knows of."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from ollama_proxyd.edges.http_api.pages import PAGES
from tests.e2e.browser.conftest import PICTURES, answered, send
from tests.e2e.harness import Daemon, StartDaemon, config_of

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]
WIDTHS = (360, 768, 1280, 1920, 3840)
AXE = Axe()


@pytest.fixture(scope="session")
def demo(session_daemons: StartDaemon) -> Daemon:
    """The demo fleet, which has something to show on every page."""
    config = {"server": config_of()["server"]}
    daemon = session_daemons(config, options=["--demo"]).ready("demo")
    daemon.post("/api/chat", {"model": "demo", "messages": [{"role": "user", "content": "hello"}], "stream": False})
    return daemon


_CUT_OFF = """() => [...document.querySelectorAll(".card")].filter((card) => {
    const edge = card.getBoundingClientRect().right;
    const isCut = (each) => !each.closest(".wide, .unseen") && each.getBoundingClientRect().right > edge + 1;
    return [...card.querySelectorAll("*")].some(isCut);
}).map((card) => card.textContent.slice(0, 80))"""
"""The cards out of which something sticks."""


def violations(page: Page) -> list[str]:
    """What axe-core finds, each with where."""
    found = AXE.run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:150]}" for each in found for node in each["nodes"]]


def fill(page: Page, path: str) -> None:
    """Have something to see on the page."""
    if path == "/chat":
        send(page, "hello")
        answered(page)
        page.locator(".why-here summary").click()
        page.locator(".why-here table").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_every_page_fits_every_width_and_keeps_nobody_out(visit: Any, demo: Daemon, path: str, theme: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page = visit(demo, color_scheme=theme, reduced_motion="reduce").open(path)
    fill(page, path)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900 if width < 3000 else 2160})
        page.screenshot(path=PICTURES / f"{path.rpartition('/')[2]}-{theme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        assert page.evaluate(_CUT_OFF) == [], width
    assert violations(page) == []
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    assert violations(page) == []


def test_a_chat_that_is_magnified_four_times_can_still_be_read(visit: Any, demo: Daemon) -> None:
    page = visit(demo, viewport={"width": 320, "height": 256}, reduced_motion="reduce").open("/chat")
    fill(page, "/chat")
    page.screenshot(path=PICTURES / "chat-400-percent.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.evaluate("document.querySelector('#log').clientHeight") > 150
    page.locator("#send").scroll_into_view_if_needed()
    page.locator("#send").click(trial=True)


_LEFT_IN_ENGLISH = """async (language) => {
    const table = (await import(`/ui/${language}.js`)).default;
    const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const said = walk.currentNode.textContent.trim();
        const isEnglish = Object.hasOwn(table, said) && table[said] !== said;
        if (isEnglish && !walk.currentNode.parentElement.closest("[lang=en], bdi")) found.push(said);
    }
    return found;
}"""
"""The sentences that were not translated; what a server, a file or a program is called stays as it is."""


@pytest.mark.parametrize("language", ["de", "fr"])
@pytest.mark.parametrize("path", PAGES)
def test_every_page_speaks_the_persons_language_and_fits(visit: Any, demo: Daemon, path: str, language: str) -> None:
    page = visit(demo, locale=language, reduced_motion="reduce").open(path)
    fill(page, path)
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=PICTURES / f"{path.rpartition('/')[2]}-{language}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        assert page.evaluate(_CUT_OFF) == [], width
    assert page.evaluate(_LEFT_IN_ENGLISH, language) == []


_REASONS = {
    "/dashboard": "#mode-reason, #last-reason",
    "/ui/requests": "#requests .notes",
    "/ui/routing": "#outcome .reason, #outcome .decision .notes:not(:empty), #outcome .rejected span",
    "/ui/settings": "#features .notes",
    "/chat": ".why-body .reason, .why-body .notes:not(:empty)",
}


@pytest.mark.parametrize("language", ["de", "fr"])
@pytest.mark.parametrize("path", _REASONS)
def test_the_daemons_reasons_are_in_the_persons_language(visit: Any, demo: Daemon, path: str, language: str) -> None:
    page = visit(demo, locale=language, viewport={"width": 1280, "height": 900}).open(path)
    fill(page, path)
    found = page.locator(_REASONS[path])
    found.first.wait_for(state="attached")
    told = [(each.get_attribute("lang"), each.text_content()) for each in found.all()]
    assert [each for each in told if each[0] != language] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_dialogs_and_the_list_of_the_chat_too(visit: Any, demo: Daemon, theme: str) -> None:
    page = visit(demo, color_scheme=theme, reduced_motion="reduce", viewport={"width": 360, "height": 740}).open()
    for name, opener in (("models", "#model"), ("tune", "#tune")):
        page.locator(opener).click()
        page.locator(f"#{name}-dialog").wait_for()
        page.screenshot(path=PICTURES / f"chat-{name}-{theme}-360.png")
        assert violations(page) == []
        page.keyboard.press("Escape")
    page.locator("#side-open").click()
    page.locator("#side-close").wait_for()
    page.screenshot(path=PICTURES / f"chat-side-{theme}-360.png")
    assert violations(page) == []
