"""A GNOME Shell in the box: the person's desktop, on the buses of the machine that was booted."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.box.box import RUNTIME, USER_ID, Box
from tests.desktop.gnome.bus import Bus
from tests.desktop.gnome.driver import Shell
from tests.desktop.gnome.session import HERE, LOG, environment_in, furnish
from tests.e2e.harness import ROOT

ROOT_INSIDE = "/gnome"
"""Where the box shows the Debian that has the Shell."""
MOUNTS_INSIDE = "/gnome-mounts.sh"
FOLDER = Path("/tmp/shell")
SYSTEM_BUS = "/run/dbus"
PATIENCE_S = 60.0
PICTURES = ROOT / "test-artifacts" / "box"


def shown(gnome_root: Path) -> dict[Path, str]:
    """What of this machine the box has to show for it."""
    return {gnome_root: ROOT_INSIDE, HERE / "mounts.sh": MOUNTS_INSIDE}


class DesktopInBox:
    """The session of a Shell, started; `close` ends it."""

    def __init__(self, box: Box, extensions: Mapping[str, Path]) -> None:
        self._box = box
        self.folder = box.path(str(FOLDER))
        self.folder.mkdir()
        furnish(self.folder, extensions)
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, USER_ID, USER_ID)
        buses = (f"unix:path={RUNTIME}/bus", f"unix:path={SYSTEM_BUS}/system_bus_socket")
        words = [f"{name}={value}" for name, value in environment_in(FOLDER, buses).items()]
        namespaces = ["--mount", "--pid", "--ipc", "--fork", "--kill-child=KILL", "--propagation", "private"]
        inside = [ROOT_INSIDE, FOLDER / "world", FOLDER / "session.sh", FOLDER, RUNTIME, SYSTEM_BUS]
        command = ["unshare", *namespaces, "/bin/sh", MOUNTS_INSIDE, *map(str, inside)]
        with (self.folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                box.root_command("env", *words, *command), stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def connect(self) -> Bus:
        """Another program of the person's on their bus, which lets nobody else in."""
        with _as_the_person(self._box.path(RUNTIME)):
            return Bus("unix:path=bus")

    def has_ended(self) -> bool:
        """Whether the Shell is gone."""
        return self._process.poll() is not None

    def log_text(self) -> str:
        """What the Shell has written."""
        return (self.folder / LOG).read_text(errors="replace")

    def close(self) -> None:
        """End it and everything in it."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def _as_the_person(folder: Path) -> Iterator[None]:
    """In a folder of the box, which root alone can reach, and then as the box's user."""
    before = Path.cwd()
    os.chdir(folder)
    os.seteuid(USER_ID)
    try:
        yield
    finally:
        os.seteuid(0)
        os.chdir(before)


@contextmanager
def shell_in(box: Box, extensions: Mapping[str, Path]) -> Iterator[Shell]:
    """A Shell that is ready for use."""
    desktop = DesktopInBox(box, extensions)
    try:
        shell = Shell(desktop)
        try:
            yield shell
        finally:
            shell.close()
    finally:
        desktop.close()


def picture(shell: Shell, box: Box, name: str) -> None:
    """A screenshot of the whole screen among the artifacts."""
    inside = str(FOLDER / "home" / f"{name}.png")
    shell.screenshot(Path(inside))
    PICTURES.mkdir(parents=True, exist_ok=True)
    shutil.copy(box.path(inside), PICTURES)
