"""Daemons that tell little, are slow or ill: what they have is shown, what fails is told, and the Shell goes on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dbus_fast import Variant

from tests.desktop.gnome.desktop import Desktop
from tests.desktop.gnome.stand_in import StandIn
from tests.desktop.gnome.test_notifications import told
from tests.e2e.harness import wait_until

LITTLE = {"CurrentMode": Variant("s", "Balanced")}
UP = {"npu": {"Id": Variant("s", "npu"), "Health": Variant("s", "up")}}
SENSELESS = {"CurrentMode": Variant("i", 7), "Modes": Variant("s", "all"), "Reason": Variant("ad", [0.5])}

Values = Mapping[str, Variant]


@contextmanager
def daemon_with(desktop: Desktop, efficiency: Values, backends: Mapping[str, Values] = UP) -> Iterator[StandIn]:
    desktop.daemon.end()
    with StandIn(desktop.session.session_bus.address, efficiency, backends) as daemon:
        yield daemon
    desktop.until_subtitle("Not running")


def test_a_daemon_that_tells_neither_routing_nor_a_table_of_modes_can_be_switched(desktop: Desktop) -> None:
    with daemon_with(desktop, LITTLE) as daemon:
        desktop.until_subtitle("Balanced")
        desktop.pick("Quiet")
        desktop.until_subtitle("Quiet")
        desktop.open_menu()
        assert desktop.is_checked("Quiet")
        assert {"Auto", "Performance", "Efficiency", "Ultra Efficiency"} <= set(desktop.texts())
        assert "Open Dashboard" not in desktop.texts(), "it does not say where that is"
        desktop.picture("menu-tells-little")
        assert "SetMode" in daemon.asked


def test_a_backend_of_which_little_is_told_breaks_nothing(desktop: Desktop) -> None:
    backends = {
        "npu": {"Id": Variant("s", "npu"), "Health": Variant("s", "up")},
        "odd": {"Name": Variant("s", "Odd one"), "Health": Variant("s", "down"), "InFlight": Variant("s", "many")},
        "bare": {},
    }
    with daemon_with(desktop, LITTLE, backends):
        desktop.open_menu()
        desktop.until_menu_says("1 backend ready")
        desktop.until_menu_says("Odd one")
        desktop.picture("menu-one-down")


def test_where_no_backend_is_up_the_tile_says_so(desktop: Desktop) -> None:
    down = {"Id": Variant("s", "npu"), "Health": Variant("s", "down"), "Reason": Variant("s", "connection refused")}
    with daemon_with(desktop, LITTLE, {"npu": down}) as daemon:
        desktop.until_subtitle("No backend is up")
        desktop.open_menu()
        desktop.until_menu_says("Down: connection refused")
        desktop.picture("menu-none-up")
        daemon.change("Backends/npu", Health=Variant("s", "up"), Reason=Variant("s", ""))
        desktop.until_subtitle("Balanced")


def test_values_of_another_kind_than_agreed_break_nothing(desktop: Desktop) -> None:
    with daemon_with(desktop, SENSELESS) as daemon:
        desktop.until_subtitle("Unknown mode")
        desktop.open_menu()
        daemon.change("Efficiency", **LITTLE)
        desktop.until_subtitle("Balanced")


def test_while_a_slow_daemon_takes_its_time_the_shell_goes_on(desktop: Desktop) -> None:
    with daemon_with(desktop, LITTLE) as daemon:
        desktop.until_subtitle("Balanced")
        daemon.held.add("SetMode")
        desktop.pick("Quiet")
        wait_until(lambda: "SetMode" in daemon.asked, "the daemon is asked")
        desktop.shell.eval("driver.frame()")
        assert desktop.subtitle() == "Balanced", "what is shown is what the daemon has said"
        daemon.answer()
        desktop.until_subtitle("Quiet")


def test_a_backend_that_takes_its_time_is_not_the_daemon_s_silence(desktop: Desktop) -> None:
    loaded = {**UP["npu"], "LoadedModels": Variant("as", ["demo"])}
    with daemon_with(desktop, LITTLE, {"npu": loaded}) as daemon:
        desktop.until_subtitle("Balanced")
        daemon.held.add("UnloadModels")
        desktop.pick("Unload Models")
        wait_until(lambda: "UnloadModels" in daemon.asked, "the daemon is asked")
        desktop.shell.eval("driver.sleep(6000)")  # other questions are answered within 5 s, or it is silent
        assert desktop.subtitle() == "Balanced"


def test_what_a_daemon_refuses_is_told_in_its_words(desktop: Desktop) -> None:
    with daemon_with(desktop, LITTLE) as daemon:
        desktop.until_subtitle("Balanced")
        daemon.refused["SetMode"] = "not on a Friday"
        desktop.pick("Quiet")
        wait_until(lambda: told(desktop, "not on a Friday"), "the person is told")
        assert told(desktop, "The mode could not be changed")
        assert desktop.subtitle() == "Balanced"


def test_a_daemon_that_cannot_tell_its_mode_is_asked_again_on_request(desktop: Desktop) -> None:
    desktop.daemon.end()
    with StandIn(
        desktop.session.session_bus.address, LITTLE, UP, refused={"GetManagedObjects": "still asleep"}
    ) as daemon:
        desktop.until_subtitle("Not answering")
        desktop.open_menu()
        desktop.until_menu_says("Still asleep")
        daemon.refused.clear()
        desktop.pick("Try Again")
        desktop.until_subtitle("Balanced")


def test_a_change_before_a_late_answer_is_not_undone_by_it(desktop: Desktop) -> None:
    desktop.daemon.end()
    with StandIn(
        desktop.session.session_bus.address,
        LITTLE,
        UP,
        held={"GetManagedObjects"},
    ) as daemon:
        wait_until(lambda: "GetManagedObjects" in daemon.asked, "it is asked for all it has")
        daemon.change("Efficiency", CurrentMode=Variant("s", "Quiet"))
        daemon.answer()
        desktop.until_subtitle("Quiet")
