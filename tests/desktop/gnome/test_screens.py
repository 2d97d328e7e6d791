"""The menu on small screens, among a laptop's usual tiles and two sliders: nothing out of reach, nothing cut."""

import pytest
from dbus_fast import Variant

from tests.desktop.gnome.desktop import MENU, TILE, TITLE, Desktop, StartDesktop
from tests.desktop.gnome.stand_in import StandIn
from tests.desktop.gnome.states import ROUTING, STATES, backend, mode

MODES = ("Auto", "Performance", "Balanced", "Efficiency", "Quiet", "Ultra Efficiency")
FURNISH = """(async () => {
    const {QuickToggle, QuickSlider} = await import('resource:///org/gnome/shell/ui/quickSettings.js');
    const {menu} = driver.quickSettings();
    const first = driver.all(menu.actor, a => a.title === 'Dark Style' && 'checked' in a)[0];
    for (const iconName of ['audio-volume-high-symbolic', 'display-brightness-symbolic'])
        menu.insertItemBefore(new QuickSlider({iconName}), first, 2);
    for (const title of ['Wi-Fi', 'Bluetooth', 'Power Mode', 'Night Light', 'Airplane Mode', 'Keyboard'].slice(0, %d))
        menu.insertItemBefore(new QuickToggle({title, iconName: 'emblem-system-symbolic'}), first);
    return true;
})()"""
"""The Shell's own widgets, as the hardware would bring them."""
SCROLLED = """(() => {
    const {vadjustment: it} = driver.all(%s.actor, a => a.vscrollbar_policy !== undefined)[0];
    return {at: it.value, hidden: Math.max(0, it.upper - it.page_size)};
})()"""
IS_CUT = "driver.all(%s, a => a.mapped && a.clutter_text?.get_layout().is_ellipsized()).map(a => a.text)"


def furnish(desktop: Desktop, tiles: int) -> None:
    """Add them once the Shell has made its own."""
    own = "driver.all(driver.quickSettings().menu.actor, a => a.title === 'Dark Style' && 'checked' in a)"
    desktop.shell.until(f"{own}.length > 0")
    desktop.shell.eval(FURNISH % tiles)


def furnished(start_desktop: StartDesktop, monitor: str, tiles: int = 6) -> Desktop:
    desktop = start_desktop({"MONITOR": monitor})
    furnish(desktop, tiles)
    desktop.daemon.start()
    desktop.daemon.choose("Balanced")
    desktop.daemon.ask_whole()
    return desktop


def is_in_reach(desktop: Desktop, text: str) -> bool:
    return bool(desktop.shell.eval(f"driver.isOnScreen(driver.withText({MENU}.actor, {text!r}))"))


def test_at_1366_by_768_nothing_scrolls(start_desktop: StartDesktop) -> None:
    desktop = furnished(start_desktop, "1366x768")
    desktop.open_menu()
    desktop.until_menu_says("less than Performance")
    desktop.picture("screen-1366x768", whole=True)
    assert desktop.shell.eval(SCROLLED % MENU)["hidden"] == 0
    for text in (*MODES, "Open Dashboard", "AI Efficiency Settings"):
        assert is_in_reach(desktop, text), text
    assert desktop.shell.eval(IS_CUT % f"{MENU}.actor") == []


@pytest.mark.parametrize("scale", ["1.0", "2.0"])
def test_at_1280_by_720_everything_can_be_reached_and_it_opens_at_its_top(
    start_desktop: StartDesktop, scale: str
) -> None:
    # At 200 % no Shell has room for eight tiles and two sliders there, with or without this one.
    desktop = furnished(start_desktop, "1280x720", tiles=6 if scale == "1.0" else 2)
    desktop.set("org.gnome.desktop.interface", "text-scaling-factor", scale)
    desktop.open_tile()
    assert desktop.shell.eval(IS_CUT % TILE) == []
    desktop.open_menu()
    desktop.until_menu_says("backends ready")
    desktop.picture(f"screen-1280x720-text-{scale}", whole=True)
    assert desktop.shell.eval(f"driver.isOnScreen({MENU}.box)")
    assert desktop.shell.eval(IS_CUT % f"{MENU}.actor") == []
    for label in (*MODES[::-1], *MODES):
        desktop.pick(label)
        desktop.daemon.choose("Balanced")
    desktop.close_menus()
    desktop.open_menu()
    assert desktop.shell.eval(SCROLLED % MENU)["at"] == 0
    desktop.shell.eval(f"driver.withText({MENU}.actor, 'AI Efficiency Settings').grab_key_focus()")
    desktop.shell.until(f"driver.isOnScreen(driver.withText({MENU}.actor, 'AI Efficiency Settings'))")
    assert desktop.shell.complaints() == []


def test_of_twenty_backends_the_five_that_are_down_stand_first_and_all_can_be_reached(
    start_desktop: StartDesktop,
) -> None:
    desktop = start_desktop({"MONITOR": "1280x720"})
    furnish(desktop, 6)
    down = {"Health": Variant("s", "down"), "Reason": Variant("s", "connection refused")}
    fleet = {
        f"b{n}": {**backend(f"Backend {n}", "cpu"), "Id": Variant("s", f"b{n}"), **(down if n >= 15 else {})}
        for n in range(20)
    }
    with StandIn(desktop.session.session_bus.address, mode("Balanced"), fleet, others=ROUTING):
        desktop.until_subtitle("Balanced")
        desktop.open_menu()
        desktop.until_menu_says("15 backends ready")
        shown = dict.fromkeys(text for text in desktop.texts() if text.startswith("Backend "))
        assert list(shown) == [f"Backend {n}" for n in range(15, 20)]
        named = f"driver.all({MENU}.actor, a => a.accessible_name === 'Backend 15, Down: connection refused').length"
        assert desktop.shell.eval(named) == 1, "a screen reader says it, too"
        assert desktop.shell.eval(SCROLLED % MENU)["at"] == 0
        desktop.picture("twenty-backends-five-down", whole=True)
        last = f"driver.withText({MENU}.actor, 'AI Efficiency Settings')"
        desktop.shell.eval(f"{last}.grab_key_focus()")
        desktop.shell.until(f"driver.isOnScreen({last})")
    desktop.until_subtitle("Not running")
    assert desktop.shell.complaints() == []


def test_a_mode_that_is_in_use_no_more_stands_as_high_as_the_others(start_desktop: StartDesktop) -> None:
    desktop = start_desktop()
    heights = f"driver.all({MENU}.actor, a => a.mapped && a._inUse).map(a => a.height)"
    for name in ("auto", "answering"):
        told = STATES[name]
        address = desktop.session.session_bus.address
        with StandIn(address, told.efficiency, told.backends, others=told.others):
            desktop.until_subtitle(told.subtitle)
            desktop.open_menu()
            desktop.shell.until(f"new Set({heights}).size === 1")
            desktop.close_menus()


TITLES = {"de": "KI-Effizienz", "fr": "Efficacité IA"}


@pytest.mark.parametrize("language", ["en", *TITLES])
def test_in_the_tile_no_mode_and_no_trouble_is_cut(start_desktop: StartDesktop, language: str) -> None:
    desktop = start_desktop({"LANG": "en_US.UTF-8", "LANGUAGE": language})
    desktop.daemon.start()
    tile = f"driver.tile({TITLES.get(language, TITLE)!r})"
    desktop.open_tile()
    for scale in ("1.0", "2.0"):
        desktop.set("org.gnome.desktop.interface", "text-scaling-factor", scale)
        for token in ("Performance", "Balanced", "Efficiency", "Quiet", "UltraEfficiency"):
            desktop.daemon.choose(token)
            desktop.shell.eval("driver.sleep(60)")
            assert desktop.shell.eval(IS_CUT % tile) == []
        for words in ("No backend is up", "Backends are off", "No backends", "Not installed", "Not answering"):
            said = f"imports.gi.GLib.dgettext('ollama-proxy@fio.ie', {words!r})"
            desktop.shell.eval(f"({tile}.subtitle = {said}, driver.sleep(60))")
            assert desktop.shell.eval(IS_CUT % tile) == []
    desktop.picture(f"tile-{language}")
