"""Auto on a laptop with a real UPower: the tile and its menu say what Auto makes of the battery, and why."""

from tests.desktop.gnome.desktop import Desktop


def test_autos_mode_and_reason_follow_the_battery(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Auto")
    desktop.laptop.charge_to(60)
    desktop.until_subtitle("Balanced")
    desktop.open_menu()
    desktop.until_menu_says("Balanced: plugged in")
    desktop.laptop.unplug()
    desktop.laptop.drain_to(43)
    desktop.until_subtitle("Efficiency")
    desktop.until_menu_says("Efficiency: battery below 50%")
    desktop.until_menu_says("In use")
    desktop.picture("auto-on-battery", whole=True)
    desktop.drain_to(30, 15)
    desktop.until_subtitle("Ultra Efficiency")
    desktop.until_menu_says("Ultra Efficiency: battery below 20%")
    desktop.laptop.plug_in()
    desktop.until_subtitle("Balanced")
    desktop.until_menu_says("Balanced: plugged in")


def test_another_mode_does_not_follow_the_battery(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Performance")
    desktop.until_subtitle("Performance")
    desktop.laptop.unplug()
    desktop.drain_to(15)
    desktop.open_menu()
    assert desktop.subtitle() == "Performance"
    desktop.until_menu_says("Performance: the fastest answer")
    desktop.laptop.plug_in()
