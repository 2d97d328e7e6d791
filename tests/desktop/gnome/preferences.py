"""Drives the preferences' window: finds widgets by what they say, and clicks where GTK itself says that they are."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.desktop.gnome.bus import Refused
from tests.desktop.gnome.desktop import Desktop
from tests.e2e.harness import wait_until

SERVICE = "org.gnome.Shell.Extensions"
SOURCE = Path(__file__).with_name("preferences.js")
WINDOW = "global.get_window_actors().find(a => a.mapped && a.meta_window.title === 'AI Efficiency')"


class Preferences:
    """The preferences of a desktop whose daemon runs, opened by a click in the tile's menu."""

    def __init__(self, desktop: Desktop) -> None:
        self.desktop = desktop
        self.shell = desktop.shell
        if self.shell.bus.owner_of(SERVICE) is None:
            program = desktop.session.folder / SERVICE
            program.write_text(SOURCE.read_text())
            desktop.session.run(f"SHELL_DBUS_PERSIST=1 gjs -m {program}")
            wait_until(lambda: self.shell.bus.owner_of(SERVICE), "the Shell's service for preferences is there", 60.0)
        desktop.pick("AI Efficiency Settings")
        self.shell.until(f"{WINDOW} && global.display.focus_window")
        self.eval("prefs.drawn()")

    def eval(self, javascript: str) -> Any:
        """The value of an expression in the preferences; a promise is waited for. It sees prefs."""
        return json.loads(self.shell.bus.ask(SERVICE, "/tests", "tests.Preferences.Eval", "s", javascript))

    def until_says(self, text: str) -> None:
        """Wait until something on the page that is in sight says this."""
        wait_until(lambda: text in self.eval("prefs.texts()"), f"the preferences say {text!r}", 20.0)

    def click(self, widget: str) -> None:
        """A real click in the middle of a widget, once GTK says that the pointer is on it."""

        def pointer_is_on_it() -> bool:
            with suppress(Refused):  # not there yet
                x, y = self.eval(f"prefs.middleOf({widget})")
                frame = f"{WINDOW}.meta_window.get_frame_rect()"
                self.shell.eval(f"(frame => driver.moveTo(frame.x + {x}, frame.y + {y}))({frame})")
                return bool(self.eval(f"prefs.isHovered({widget})"))
            return False

        wait_until(pointer_is_on_it, f"the pointer is on {widget}", 20.0)
        self.shell.eval("driver.clickHere()")

    def turn(self, title: str) -> None:
        """Click on the switch in the row of this title."""
        self.click(f"prefs.switchOf({title!r})")

    def go_to(self, page: str) -> None:
        """Click on a page's name in the title bar."""
        self.click(f"prefs.saying('AdwViewSwitcherButton', {page!r})")

    def picture(self, name: str) -> None:
        """A picture of the whole screen, once the window has drawn itself."""
        self.eval("prefs.drawn()")
        self.desktop.picture(name, whole=True)

    def close(self) -> None:
        """Close the window, as its button does."""
        self.shell.eval(f"{WINDOW}?.meta_window.delete(global.display.get_current_time_roundtrip()); true")
        self.shell.until(f"!{WINDOW}")
        wait_until(lambda: self.eval("prefs.window() === null"), "the program has let go of its window", 20.0)
