"""Auto on a laptop with a real UPower: the tile and its menu say what Auto makes of the battery, and why."""

from tests.desktop.gnome.desktop import Desktop


def test_autos_mode_and_reason_follow_the_battery(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Auto")
    desktop.laptop.charge_to(60)
    desktop.until_subtitle("Auto", "Balanced")
    desktop.open_menu()
    desktop.until_menu_says("n mains power")
    desktop.laptop.unplug()
    desktop.laptop.drain_to(43)
    desktop.until_subtitle("Auto", "Efficiency")
    desktop.until_menu_says("n battery at 43 %")
    desktop.picture("auto-on-battery", whole=True)
    desktop.drain_to(30, 15)
    desktop.until_subtitle("Auto", "Ultra Efficiency")
    desktop.until_menu_says("n battery at 15 %")
    desktop.laptop.plug_in()
    desktop.until_subtitle("Auto", "Balanced")
    desktop.until_menu_says("n mains power")


def test_another_mode_does_not_follow_the_battery(desktop: Desktop) -> None:
    desktop.daemon.start()
    desktop.daemon.choose("Performance")
    desktop.until_subtitle("Performance")
    desktop.laptop.unplug()
    desktop.drain_to(15)
    desktop.open_menu()
    assert desktop.subtitle() == "Performance"
    desktop.until_menu_says("Performance, as chosen")
    desktop.laptop.plug_in()
