"""Switched off, the extension leaves nothing behind, however often: no widget, handler, subscription or memory."""

from typing import Any

from tests.desktop.gnome.desktop import TILE, UUID, Desktop
from tests.desktop.gnome.driver import NAME

TIMES = 50
WARM_UP = 10
GROWTH = {"heapKb": 1.03, "residentKb": 1.15}
"""How much larger the Shell's objects and its memory may be afterwards: the noise of a Shell without any extension. One
menu that is kept each time makes its objects a tenth larger."""
CENSUS = """(async () => {
    const {Gio, GLib} = imports.gi;
    for (let i = 0; i < 3; i++) {
        imports.system.gc();
        await driver.sleep(50);
    }
    const residentKb = driver.residentKb();
    const dump = Gio.File.new_for_path(GLib.build_filenamev([GLib.get_user_runtime_dir(), 'heap']));
    imports.system.dumpHeap(dump.get_path());
    const heapKb = dump.query_info('standard::size', Gio.FileQueryInfoFlags.NONE, null).get_size() / 1024;
    dump.delete(null);
    const emitters = [
        driver.quickSettings().menu, Main.extensionManager, Main.messageTray, Main.overview, Main.sessionMode,
    ];
    return {
        heapKb,
        residentKb,
        actors: driver.all(global.stage, () => true).length,
        handlers: emitters.map(emitter => Object.keys(emitter._signalConnections ?? {}).length),
        indicators: driver.quickSettings()._indicators.get_n_children(),
        notifications: Main.messageTray.getSources().length,
    };
})()"""


def census(desktop: Desktop) -> dict[str, Any]:
    """What can be counted in the Shell and of it."""
    counted: dict[str, Any] = desktop.shell.eval(CENSUS)
    counted["subscriptions"] = desktop.shell.bus.matches_of(NAME)
    return counted


def turn_off_and_on(desktop: Desktop, times: int) -> None:
    for _ in range(times):
        desktop.shell.enable(UUID, False)
        desktop.shell.enable(UUID)


def test_switched_off_it_is_gone(desktop: Desktop) -> None:
    desktop.start_in("Balanced")
    desktop.shell.enable(UUID, False)
    try:
        desktop.open_tile()
        assert desktop.shell.eval(f"{TILE} === undefined")
    finally:
        desktop.shell.enable(UUID)
    desktop.until_subtitle("Balanced")


def on_and_off(desktop: Desktop) -> list[dict[str, Any]]:
    """What can be counted while the extension is on, and while it is off."""
    desktop.until_subtitle("Balanced")
    counted = [census(desktop)]
    desktop.shell.enable(UUID, False)
    counted.append(census(desktop))
    desktop.shell.enable(UUID)
    return counted


def test_fifty_times_off_and_on_leaves_nothing_behind(desktop: Desktop) -> None:
    desktop.start_in("Balanced")
    turn_off_and_on(desktop, WARM_UP)
    after = on_and_off(desktop)
    for _ in range(4):  # what the Shell makes for itself, late and once, does not come a second time; a leak does
        before = after
        turn_off_and_on(desktop, TIMES)
        after = on_and_off(desktop)
        if not any(map(left_behind, before, after)):
            break
    assert list(map(left_behind, before, after)) == [{}, {}]
    assert after[1]["subscriptions"] < after[0]["subscriptions"], "what is counted can be seen"


def left_behind(was: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What is not as it was, with both values; a size may have the noise of GROWTH."""
    return {
        name: (was[name], now[name])
        for name in was
        if (now[name] >= GROWTH[name] * was[name] if name in GROWTH else now[name] != was[name])
    }


def test_switched_off_while_calls_are_under_way_it_complains_of_nothing(desktop: Desktop) -> None:
    desktop.start_in("Balanced")
    hurry = f"""(async () => {{
        const manager = Main.extensionManager;
        for (let i = 0; i < {TIMES}; i++) {{
            await manager.enableExtension({UUID!r});
            await driver.sleep(i % 5);
            await manager.disableExtension({UUID!r});
        }}
        manager.enableExtension({UUID!r});
        return true;
    }})()"""
    assert desktop.shell.eval(hurry)
    desktop.until_subtitle("Balanced")
    assert desktop.shell.errors_of(UUID) == []


def test_it_has_no_timers(desktop: Desktop) -> None:
    """Whatever is told comes by a signal, so that a sleeping processor is left asleep."""
    spied = ["timeout_add", "timeout_add_seconds", "idle_add"]
    spy = f"""(() => {{
        const {{GLib}} = imports.gi;
        driver.timers = [];
        driver.unspy = {spied!r}.map(name => {{
            const original = GLib[name];
            GLib[name] = (...rest) => {{
                const {{stack}} = new Error();
                if (stack.includes({UUID!r}))
                    driver.timers.push(stack);
                return original.apply(GLib, rest);
            }};
            return () => (GLib[name] = original);
        }});
        return true;
    }})()"""
    desktop.start_in("Balanced")
    assert desktop.shell.eval(spy)
    try:
        turn_off_and_on(desktop, 1)
        desktop.until_subtitle("Balanced")
        desktop.open_menu()
        desktop.until_menu_says("backends ready")
        desktop.daemon.ask_whole()
        desktop.close_menus()
        assert desktop.shell.eval("driver.timers") == []
    finally:
        desktop.shell.eval("driver.unspy.forEach(undo => undo()); true")
