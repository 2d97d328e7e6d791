"""The daemon is killed, restarted, stopped, absent: the tile says so, the Shell stays usable, a click starts it."""

import signal

from tests.desktop.gnome.desktop import MENU, TILE, Desktop, StartDesktop
from tests.desktop.gnome.test_notifications import told
from tests.e2e.harness import wait_until


def test_at_login_the_extension_does_not_start_the_daemon_and_a_click_on_the_tile_does(
    start_desktop: StartDesktop,
) -> None:
    desktop = start_desktop()
    desktop.open_tile()
    desktop.until_subtitle("Not running")
    desktop.picture("not-running")
    assert not desktop.daemon.runs()
    desktop.shell.click(TILE)
    wait_until(desktop.daemon.runs, "the daemon runs")
    desktop.until_subtitle("Balanced")
    assert desktop.shell.complaints() == []


def test_without_the_daemon_the_menu_says_what_that_means_and_offers_to_start_it(desktop: Desktop) -> None:
    desktop.daemon.end()
    desktop.until_subtitle("Not running")
    desktop.open_menu()
    desktop.until_menu_says("not served until it is started")
    desktop.picture("menu-not-running")
    desktop.pick("Start")
    desktop.daemon.ready()
    desktop.until_subtitle("Balanced")


def test_where_the_daemon_is_not_installed_the_tile_says_so_and_shows_the_way(start_desktop: StartDesktop) -> None:
    desktop = start_desktop()
    service = desktop.session.session_bus.folder / "services" / "ie.fio.OllamaProxy.service"
    text = service.read_text()
    service.unlink()
    desktop.shell.bus.ask("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.ReloadConfig")
    desktop.open_tile()
    desktop.shell.click(TILE)  # what it knows is from before, so the bus is asked
    desktop.until_subtitle("Not installed")
    assert told(desktop, "") == []
    desktop.open_menu()
    desktop.until_menu_says("How to Install")
    desktop.picture("menu-not-installed")
    service.write_text(text)
    desktop.shell.bus.ask("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.ReloadConfig")
    desktop.close_menus()
    desktop.open_menu()
    desktop.until_subtitle("Not running")
    desktop.until_menu_says("Start")
    assert desktop.shell.complaints() == []


def test_a_killed_daemon_is_missed_and_a_new_one_is_noticed_with_its_mode(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Efficiency")
    desktop.until_subtitle("Efficiency")
    for _ in range(2):
        desktop.daemon.end(signal.SIGKILL)
        desktop.until_subtitle("Not running")
        assert not desktop.daemon.runs(), "nobody asked for it"
        desktop.daemon.start()
        desktop.until_subtitle("Efficiency")
    desktop.pick("Balanced")
    wait_until(lambda: desktop.daemon.mode() == "Balanced", "a click reaches the new daemon")


def test_a_daemon_that_ends_while_the_menu_is_open_takes_its_rows_along(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.open_menu()
    desktop.until_menu_says("backends ready")
    desktop.daemon.end()
    desktop.shell.until(f"!driver.texts({MENU}.actor).some(text => text.includes('backends ready'))")
    desktop.daemon.start()
    desktop.until_menu_says("backends ready")


def test_a_daemon_that_does_not_answer_never_holds_the_shell(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Balanced")
    desktop.until_subtitle("Balanced")
    desktop.open_menu()
    desktop.daemon.send(signal.SIGSTOP)
    try:
        desktop.pick("Quiet")
        for _ in range(5):
            desktop.shell.eval("driver.frame()")
        desktop.open_tile()
        assert desktop.shell.eval(f"{TILE}.mapped")
        desktop.until_subtitle("Not answering")
        wait_until(lambda: told(desktop, "The mode could not be changed|It has not answered yet"), "the person is told")
        desktop.open_menu()
        desktop.until_menu_says("Try Again")
        desktop.picture("menu-not-answering")
        desktop.close_menus()
    finally:
        desktop.daemon.send(signal.SIGCONT)
    wait_until(lambda: desktop.daemon.mode() == "Quiet", "the late call arrives")
    desktop.until_subtitle("Quiet")
    wait_until(lambda: not told(desktop, "could not be changed"), "what is not true any more is withdrawn")
