"""A desktop session: a real GNOME Shell without a display, in a Debian root, on buses that the test has made.

As root it runs in namespaces made by unshare, else in those of bwrap; nothing is left when it has ended.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tests.desktop.gnome.bus import Bus
from tests.desktop.private_bus import PrivateBus

HERE = Path(__file__).parent
USER = 1000
"""Of the session where the tests run as root."""
PATIENCE_S = 60.0
SETTINGS = """[org/gnome/shell]
enabled-extensions={uuids!r}
disable-user-extensions=false
welcome-dialog-last-shown-version='9999'
[org/gnome/desktop/interface]
enable-animations=false
enable-hot-corners=false
[org/gnome/desktop/session]
idle-delay=uint32 0
[org/gnome/desktop/screensaver]
lock-enabled=false
"""
SETTINGS_FILE = ".config/glib-2.0/settings/keyfile"
LOG = "gnome-shell.log"
NOT_INSTALLED = ("org.gnome.Shell.CalendarServer",)
"""What the Shell starts by itself and takes as an error of its own where the bus does not know it at all."""


def desktop_bus(services: Mapping[str, str] | None = None) -> PrivateBus:
    """A session bus for a desktop: it can start these services."""
    return PrivateBus({**dict.fromkeys(NOT_INSTALLED, "/bin/false"), **(services or {})})


def furnish(folder: Path, extensions: Mapping[str, Path]) -> None:
    """Put into an empty folder what a session needs: a home with these extensions, and what starts the Shell."""
    (folder / "world").mkdir()
    (folder / "run").mkdir(mode=0o700)
    home = folder / "home"
    for uuid, source in extensions.items():
        shutil.copytree(source, home / ".local/share/gnome-shell/extensions" / uuid)
    (home / SETTINGS_FILE).parent.mkdir(parents=True)
    (home / SETTINGS_FILE).write_text(SETTINGS.format(uuids=list(extensions)))
    shutil.copy(HERE / "session.sh", folder)
    (folder / LOG).touch()
    (folder / "commands.log").touch()


def environment_in(folder: Path, buses: tuple[str, str]) -> dict[str, str]:
    """The environment of a session in a folder, on buses at these addresses."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(folder / "home"),
        "USER": "tester",
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "XDG_SESSION_TYPE": "wayland",
        "XDG_CURRENT_DESKTOP": "GNOME",
        "DBUS_SESSION_BUS_ADDRESS": buses[0],
        "DBUS_SYSTEM_BUS_ADDRESS": buses[1],
        "GSETTINGS_BACKEND": "keyfile",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "GSK_RENDERER": "cairo",  # else GTK's windows stay blank for their first second
        "NO_AT_BRIDGE": "1",
        "GTK_A11Y": "none",
        "SHELL_LOG": str(folder / LOG),
        "COMMANDS_LOG": str(folder / "commands.log"),
    }


class Session:
    """The Shell on these buses, started; `ready` of the driver waits until it can be used.

    extensions: folders by uuid, each copied into the session. pictures: where the Shell may write.
    """

    def __init__(
        self,
        root: Path,
        buses: tuple[PrivateBus, PrivateBus],
        pictures: Path,
        extensions: Mapping[str, Path],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="shell-"))  # a socket's path has to be short
        self.home = self.folder / "home"
        self.commands_log = self.folder / "commands.log"
        self.session_bus, self.system_bus = buses
        furnish(self.folder, extensions)
        folders = [self.folder, *(bus.folder for bus in buses), pictures]
        self._give_to_user(folders)
        addresses = (self.session_bus.address, self.system_bus.address)
        inside = {**environment_in(self.folder, addresses), **(environment or {})}
        command = _unshared(root, self.folder, folders) if os.getuid() == 0 else _wrapped(root, self.folder, folders)
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            with (self.folder / LOG).open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, env=inside
                )
            undo.pop_all()

    @property
    def settings_file(self) -> Path:
        """Where the session keeps every setting that is not its default."""
        return self.home / SETTINGS_FILE

    def connect(self) -> Bus:
        """Another program on its bus."""
        return Bus(self.session_bus.address)

    def _give_to_user(self, folders: Sequence[Path]) -> None:
        if os.getuid() == 0:
            for folder in folders:
                os.chown(folder, USER, USER)
            for path in self.folder.rglob("*"):
                os.chown(path, USER, USER)

    def run(self, command: str) -> None:
        """Start a command in the session."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def has_ended(self) -> bool:
        """Whether the Shell is gone."""
        return self._process.poll() is not None

    def log_text(self) -> str:
        """What the Shell has written."""
        return (self.folder / LOG).read_text(errors="replace")

    def close(self) -> None:
        """End it and everything in it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _unshared(root: Path, folder: Path, folders: Sequence[Path]) -> list[str]:
    namespaces = ["--mount", "--pid", "--ipc", "--fork", "--kill-child=KILL", "--propagation", "private"]
    inside = [str(root), str(folder / "world"), str(folder / "session.sh"), *map(str, folders)]
    return ["unshare", *namespaces, "/bin/sh", str(HERE / "mounts.sh"), *inside]


def _wrapped(root: Path, folder: Path, folders: Sequence[Path]) -> list[str]:
    command = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--tmpfs", "/"]
    for path in root.iterdir():
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), f"/{path.name}"]
        elif path.name in {"etc", "usr", "var", "opt"}:
            command += ["--ro-bind", str(path), f"/{path.name}"]
    command += ["--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys", "--tmpfs", "/tmp", "--tmpfs", "/run"]
    for path in folders:
        command += ["--bind", str(path), str(path)]
    return [*command, "/bin/sh", str(folder / "session.sh")]
