"""Drives a GNOME Shell that runs in unsafe mode: looks at its actors, clicks and types as a person, takes pictures."""

import json
import re
from pathlib import Path
from typing import Any, Protocol

from tests.desktop.gnome.bus import Bus, Refused
from tests.e2e.harness import wait_until

NAME, PATH = "org.gnome.Shell", "/org/gnome/Shell"
EXTENSIONS = "org.gnome.Shell.Extensions"
PICTURES = "org.gnome.Shell.Screenshot"
ACTIVE = 1.0
PATIENCE_S = 60.0
SOURCE = Path(__file__).with_name("driver.js")
COMPLAINT = re.compile(r"WARNING|CRITICAL|ERROR|Error:|[Uu]nhandled promise|stack trace", re.IGNORECASE)
SHELLS_OWN = re.compile(
    "|".join(
        (
            r"GnomeDesktop-WARNING.*iso-codes",
            r"accountsservice-WARNING",
            r"libmutter-WARNING.*(no colord server|Failed to update activation environment)",
            r"libmutter-WARNING.*Unknown experimental feature",
            r"Gjs-WARNING.*Falling back to slow path",
            r"GNOME Shell-WARNING.*Missing required core component Settings",
            r"WARNING: Glycin running without sandbox",
            r"GNOME Shell-Message: \S+ Error (loading calendars|registering (session|display) with GDM)",
            r"ServiceUnknown: The name org\.",
            r"^\[[EW]\].*pw\.conf",
        )
    )
)
"""What it says, with and without an extension, about parts of a desktop that its root does not have."""


class Session(Protocol):
    """What a Shell runs in."""

    def connect(self) -> Bus:
        """Another program on its bus."""

    def has_ended(self) -> bool:
        """Whether the Shell is gone."""

    def log_text(self) -> str:
        """What the Shell has written."""


class Shell:
    """The Shell of a session, ready for use: no overview, no banner, the pointer in the middle."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.bus = session.connect()
        wait_until(self._answers, "the Shell answers", PATIENCE_S)
        self.eval(SOURCE.read_text() + "; true")
        self.eval("driver.settle()")

    def _answers(self) -> bool:
        assert not self.session.has_ended(), self.session.log_text()[-4000:]
        try:
            return bool(self.eval("!Main.layoutManager._startingUp"))
        except Refused:
            return False

    def eval(self, javascript: str) -> Any:
        """The value of an expression in the Shell; a promise is waited for. It sees Main, global, driver."""
        fine, text = self.bus.ask(NAME, PATH, f"{NAME}.Eval", "s", javascript)
        if not fine:
            raise Refused(f"{text}\n  in: {javascript[-400:]}")
        return json.loads(text) if text else None

    def until(self, javascript: str) -> Any:
        """The first true value of an expression; an error in it means "not yet"."""
        return self.eval(f"driver.until(() => ({javascript}))")

    def click(self, actor: str) -> None:
        """A real click in the middle of an actor, which has to be on the screen and uncovered."""
        self.eval(f"driver.click({actor})")

    def press(self, *keys: str) -> None:
        """Press keys together by their Clutter names: "Escape", "Tab", "Return"."""
        self.eval(f"driver.press(...{json.dumps(keys)})")

    @property
    def version(self) -> str:
        text: str = self.bus.ask(NAME, PATH, "org.freedesktop.DBus.Properties.Get", "ss", NAME, "ShellVersion")
        return text

    def state_of(self, uuid: str) -> dict[str, Any]:
        """What the Shell says of an extension."""
        info: dict[str, Any] = self.bus.ask(NAME, PATH, f"{EXTENSIONS}.GetExtensionInfo", "s", uuid)
        return info

    def errors_of(self, uuid: str) -> list[str]:
        """What went wrong while the extension was loaded, enabled or disabled."""
        errors: list[str] = self.bus.ask(NAME, PATH, f"{EXTENSIONS}.GetExtensionErrors", "s", uuid)
        return errors

    def enable(self, uuid: str, on: bool = True) -> None:
        """Switch an extension on or off, as a person does in the program Extensions."""
        member = f"{EXTENSIONS}.{'Enable' if on else 'Disable'}Extension"
        assert self.bus.ask(NAME, PATH, member, "s", uuid), uuid
        wait_until(lambda: (self.state_of(uuid)["state"] == ACTIVE) is on, f"{uuid} is {'on' if on else 'off'}")

    def screenshot(self, path: Path, actor: str = "") -> Path:
        """A picture of the screen, or of what is around an actor, without the sign of unsafe mode."""
        self.eval("driver.quickSettings()._unsafeMode?.hide(); driver.frame()")
        how, signature = "Screenshot", "bbs"
        where: list[Any] = [False, False]
        if actor:
            box, size = self.eval(f"[driver.boxOf({actor}), [global.stage.width, global.stage.height]]")
            left, top = max(0, int(box["x"]) - 8), max(0, int(box["y"]) - 8)
            wide, high = int(min(box["width"] + 16, size[0] - left)), int(min(box["height"] + 16, size[1] - top))
            how, signature, where = "ScreenshotArea", "iiiibs", [left, top, wide, high, False]
        fine, used = self.bus.ask(
            PICTURES, "/org/gnome/Shell/Screenshot", f"{PICTURES}.{how}", signature, *where, str(path)
        )
        assert fine, f"no picture: {used}"
        return path

    def complaints(self) -> list[str]:
        """The warnings and errors in the Shell's log, but for those about parts that its root does not have."""
        lines = self.session.log_text().splitlines()
        return [line for line in lines if COMPLAINT.search(line) and not SHELLS_OWN.search(line)]

    def close(self) -> None:
        self.bus.close()
