"""The extension in a real GNOME Shell: it loads, shows what the daemon says, and asks for nothing that it may not."""

from tests.desktop.gnome.desktop import MENU, PANEL_ICON, TILE, TITLE, UUID, Desktop
from tests.desktop.gnome.driver import ACTIVE
from tests.e2e.harness import wait_until


def test_it_loads_without_an_error(desktop: Desktop) -> None:
    assert desktop.shell.state_of(UUID)["state"] == ACTIVE
    assert desktop.shell.errors_of(UUID) == []


def test_the_tile_is_called_by_its_name_and_shows_the_mode(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Balanced")
    desktop.open_tile()
    desktop.until_subtitle("Balanced")
    assert TITLE in desktop.shell.eval(f"driver.texts({TILE})")
    desktop.picture("tile")


def test_the_menu_lists_the_daemons_modes_and_checks_the_chosen_one(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Quiet")
    desktop.until_subtitle("Quiet")
    desktop.open_menu()
    labels = [mode["label"] for mode in desktop.daemon.get("Efficiency", "Modes")]
    assert len(labels) == 6
    assert set(labels) <= set(desktop.texts())
    assert [label for label in labels if desktop.is_checked(label)] == ["Quiet"]
    desktop.picture("menu-quiet")


def test_the_menu_has_one_line_for_all_backends_that_are_well(desktop: Desktop) -> None:
    desktop.start_in("Performance")
    desktop.open_menu()
    desktop.until_menu_says(f"{len(desktop.daemon.call('Backends', 'ListBackends'))} backends ready")
    desktop.start_in("Efficiency")
    desktop.until_menu_says("2 backends ready · 2 not in this mode")


def test_after_a_request_the_menu_says_what_the_day_took(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Efficiency")
    assert desktop.daemon.ask_whole().status == 200
    desktop.open_menu()
    desktop.until_menu_says("Today ≈\u00a00.0")
    desktop.until_menu_says("% less than Performance")
    desktop.picture("menu-after-a-request")


def test_while_a_request_is_answered_the_panel_shows_it(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Efficiency")
    desktop.shell.until(f"!{PANEL_ICON}.visible")
    with desktop.daemon.asking():
        desktop.shell.until(f"{PANEL_ICON}.visible")
        desktop.open_menu()
        desktop.until_menu_says("Simulated NPU answers")
        desktop.picture("menu-at-work", whole=True)
    desktop.shell.until(f"!{PANEL_ICON}.visible")


def test_while_the_menu_is_closed_measurements_do_not_wake_the_shell(desktop: Desktop) -> None:
    def measured() -> set[str]:
        rules = desktop.shell.bus.rules_of("org.gnome.Shell")
        return {
            name for name in ("Backend", "Routing") for rule in rules if f"arg0='ie.fio.OllamaProxy.{name}'" in rule
        }

    desktop.daemon.start()
    desktop.daemon.choose("Balanced")
    desktop.until_subtitle("Balanced")
    assert measured() == set()
    desktop.open_menu()
    wait_until(lambda: measured() == {"Backend", "Routing"}, "the open menu follows them")
    desktop.close_menus()
    wait_until(lambda: measured() == set(), "the closed one follows none")


def test_every_icon_of_the_menu_is_drawn_from_a_file_that_exists(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.open_menu()
    icons = f"driver.all({MENU}.actor, a => a.mapped && a.gicon?.get_file).map(a => a.gicon.get_file().get_path())"
    paths = desktop.shell.eval(icons)
    assert paths
    assert desktop.shell.eval(f"{icons}.filter(path => !imports.gi.GLib.file_test(path, 16))") == []
