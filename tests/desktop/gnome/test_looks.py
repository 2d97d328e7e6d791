"""How it looks and how it is reached: light and dark, large text, right to left, by keyboard alone."""

import pytest

from tests.desktop.gnome.desktop import MENU, TILE, TITLE, UUID, Desktop, StartDesktop
from tests.e2e.harness import wait_until

INTERFACE = "org.gnome.desktop.interface"
LABELS = ("Auto", "Performance", "Balanced", "Efficiency", "Quiet", "Ultra Efficiency")
OUTSIDE = f"""(() => {{
    const inside = driver.boxOf(driver.quickSettings().menu.box);
    return driver.all({MENU}.actor, a => a.mapped && a.text).filter(a => {{
        const box = driver.boxOf(a);
        return box.x < inside.x || box.x + box.width > inside.x + inside.width;
    }}).map(a => a.text);
}})()"""
IS_ON_SCREEN = "driver.isOnScreen(driver.quickSettings().menu.box)"
CUT = f"driver.all({MENU}.actor, a => a.mapped && a.clutter_text?.get_layout().is_ellipsized()).map(a => a.text)"
SHORTCUT_IS_HEARD = "global.display.get_keybinding_action(74, 64) !== imports.gi.Meta.KeyBindingAction.NONE"
"""Whether the Shell listens to Super and F8, by the number of the key and the bit of the modifier."""


def focus_is_on(actor: str) -> str:
    return f"{actor}.contains(global.stage.key_focus)"


def tab_to(desktop: Desktop, actor: str, key: str = "Tab") -> None:
    """Press a key until an actor has the focus."""
    for _ in range(40):
        if desktop.shell.eval(focus_is_on(actor)):
            return
        desktop.shell.press(key)
    raise AssertionError(f"{key} does not lead to {actor}")


@pytest.mark.parametrize("scheme", ["prefer-light", "prefer-dark", "default"])
def test_in_light_and_dark_nothing_is_cut_off(desktop: Desktop, scheme: str) -> None:
    desktop.daemon.start()
    desktop.set(INTERFACE, "color-scheme", f"'{scheme}'")
    try:
        desktop.open_menu()
        desktop.until_menu_says("backends ready")
        assert desktop.shell.eval(OUTSIDE) == []
        assert desktop.shell.eval(CUT) == []
        desktop.picture(f"scheme-{scheme}")
    finally:
        desktop.set(INTERFACE, "color-scheme", "'default'")


def test_the_last_entry_of_the_menu_can_be_reached_on_a_small_screen(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.ask_whole()
    desktop.open_menu()
    desktop.until_menu_says("Today")
    assert desktop.shell.eval(IS_ON_SCREEN)
    tab_to(desktop, f"driver.withText({MENU}.actor, 'AI Efficiency Settings')", "Down")
    desktop.shell.until(f"driver.isOnScreen(driver.withText({MENU}.actor, 'AI Efficiency Settings'))")
    desktop.picture("menu-end", whole=True)


def test_with_text_twice_as_large_every_mode_can_be_read_and_clicked(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.set(INTERFACE, "text-scaling-factor", "2.0")
    try:
        desktop.open_menu()
        desktop.until_menu_says("backends ready")
        assert desktop.shell.eval(OUTSIDE) == []
        assert desktop.shell.eval(IS_ON_SCREEN)
        assert not set(desktop.shell.eval(CUT)) & set(LABELS)
        desktop.picture("text-twice-as-large", whole=True)
        for label in LABELS:
            desktop.pick(label)
            wait_until(lambda label=label: desktop.daemon.mode() == label.replace(" ", ""), label)  # type: ignore[misc]
    finally:
        desktop.set(INTERFACE, "text-scaling-factor", "1.0")


def test_by_keyboard_alone_a_mode_can_be_chosen(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Balanced")
    desktop.until_subtitle("Balanced")
    desktop.shell.press("Super_L", "s")
    desktop.shell.until("driver.quickSettings().menu.isOpen")
    tab_to(desktop, TILE)
    tab_to(desktop, f"{TILE}._menuButton", "Right")
    desktop.shell.press("Return")
    desktop.shell.until(f"{MENU}.isOpen")
    tab_to(desktop, f"driver.withText({MENU}.actor, 'Quiet')", "Down")
    desktop.picture("keyboard", whole=True)
    desktop.shell.press("Return")
    wait_until(lambda: desktop.daemon.mode() == "Quiet", "Return chooses the mode")
    desktop.until_subtitle("Quiet")


def test_every_entry_of_the_menu_has_a_name_for_a_screen_reader(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.open_menu()
    focusable = f"driver.all({MENU}.actor, a => a.mapped && a.can_focus)"
    name = "(a.get_accessible().get_name() || a.label_actor?.text || '')"
    names = desktop.shell.eval(f"{focusable}.map(a => {name})")
    assert len(names) > len(LABELS)
    assert all(names), names


def test_the_shortcut_takes_the_next_mode_and_shows_it(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Auto")
    desktop.shell.until(f"{TILE}.checked")
    desktop.shell.press("Super_L", "F8")
    desktop.shell.eval("driver.sleep(250)")
    assert desktop.daemon.mode() == "Auto", "there is no shortcut until somebody sets one"
    desktop.set(UUID, "cycle-mode-shortcut", "['<Super>F8']")
    try:
        desktop.shell.until(SHORTCUT_IS_HEARD)
        desktop.shell.press("Super_L", "F8")
        desktop.until_subtitle("Performance")  # the mode after Auto
    finally:
        desktop.set(UUID, "cycle-mode-shortcut", "@as []")


def test_right_to_left_the_menu_is_mirrored(start_desktop: StartDesktop) -> None:
    desktop = start_desktop({"CLUTTER_TEXT_DIRECTION": "rtl"})
    desktop.daemon.start()
    desktop.open_menu()
    desktop.until_menu_says("backends ready")
    label = f"driver.all({TILE}, a => a.mapped && a.text === {TITLE!r})[0]"
    assert desktop.shell.eval(f"driver.boxOf({TILE}._menuButton).x < driver.boxOf({label}).x")
    assert desktop.shell.eval(OUTSIDE) == []
    assert desktop.shell.eval(CUT) == []
    assert desktop.shell.eval(IS_ON_SCREEN)
    desktop.picture("right-to-left", whole=True)
    assert desktop.shell.complaints() == []


LANGUAGES = {
    "de": ("KI-Effizienz", "Läuft nicht", "Ausgeglichen: "),
    "fr": ("Efficacité IA", "Arrêté", "Équilibré\u00a0: "),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_speaks_the_persons_language(start_desktop: StartDesktop, language: str) -> None:
    title, not_running, as_chosen = LANGUAGES[language]
    desktop = start_desktop({"LANG": "en_US.UTF-8", "LANGUAGE": language})
    desktop.open_tile()
    desktop.shell.until(f"driver.texts(driver.quickSettings().menu.actor).includes({not_running!r})")
    desktop.picture(f"language-{language}")
    desktop.daemon.start()
    desktop.daemon.ask_whole()
    desktop.shell.eval(f"driver.openMenuOf({title!r})")
    texts = f"driver.texts(driver.tile({title!r}).menu.actor)"
    desktop.shell.until(f"{texts}.some(text => text.startsWith({as_chosen!r}))")
    for wrong in (OUTSIDE, CUT):
        assert desktop.shell.eval(wrong.replace(repr(TITLE), repr(title))) == []
    assert not {"AI Efficiency Settings", "Open Dashboard", "4 backends ready", "Balanced"} & set(
        desktop.shell.eval(texts)
    )
    desktop.picture(f"language-{language}-menu")
    assert desktop.shell.complaints() == []
