"""Installs all or nothing: a new daemon that does not serve undoes it. Uninstalls what an installation wrote."""

import shutil
from contextlib import suppress
from pathlib import Path

from ollama_proxyd.cli.install import parts
from ollama_proxyd.cli.install.files import InstallError, Manifest, Part, Transaction, found, remove_empty, write
from ollama_proxyd.cli.install.folders import NAME, Folders
from ollama_proxyd.cli.install.machine import SERVICE, SOCKET, Machine
from ollama_proxyd.cli.install.parts import UNITS, Site

EXTENSION = "ollama-proxy@fio.ie"
EXTENSION_SETTINGS = "/org/gnome/shell/extensions/ollama-proxy/"
CONFIG = "config.yaml"


class Installer:
    """One installation into these folders. env: the environment of scripts/install that is installed, if it is one."""

    def __init__(self, folders: Folders, where: Site, machine: Machine, env: Path | None = None) -> None:
        self._folders = folders
        self._where = where
        self._machine = machine
        self._env = env
        self._lines: list[str] = []

    def install(self, manifest: Manifest) -> list[str]:
        """Install, and return the report; raises InstallError, and then all is as it was."""
        changes = Transaction(manifest)
        was_active, held_socket = (self._folders.is_searched and self._machine.is_active(u) for u in (SERVICE, SOCKET))
        is_first = not manifest.is_whole
        try:
            changes.put(self._parts(manifest, is_first=is_first))
            if self._folders.is_searched and changes.before:
                self._take_up(set(changes.before), was_active=was_active)
            if is_first:
                # Made here, so that uninstall knows the folders above it that are new.
                manifest.make_folder(self._folders.state / NAME)
                self._write_configuration(manifest)
            manifest.is_whole = True
        except (InstallError, OSError, KeyboardInterrupt, SystemExit) as error:
            self._put_back(changes, was_active=was_active, held_socket=held_socket)
            reason = "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else error
            raise InstallError(f"{reason}\nAll files are again as they were before.") from error
        finally:
            manifest.save()
            remove_unused(self._folders, manifest)
        return [*self._lines, *self._summary(changes)]

    def _parts(self, manifest: Manifest, *, is_first: bool) -> list[Part]:
        data, where = self._folders.data, self._where
        no_systemd, lacks = self._machine.lacks("systemd"), self._machine.lacks
        unheld = f"{where.url} is no address that systemd can hold, so the daemon does not start on demand"
        no_socket = no_systemd or (None if where.address else unheld)
        optional = (
            ("the systemd unit", no_systemd, parts.units(data, where, SERVICE)),
            ("the systemd socket", no_socket, parts.units(data, where, SOCKET)),
            ("D-Bus activation", lacks("D-Bus"), parts.activation(data, where)),
            ("the entry among the applications", lacks("xdg-open"), parts.application(data, where)),
        )
        self._lines += [f"left out: {what}: {missing}" for what, missing, _ in optional if missing is not None]
        chosen = [part for _, missing, each in optional if missing is None for part in each]
        link = Part(self._socket_link, link_to=str(data / UNITS / SOCKET))
        # Once, like the configuration: a socket that was disabled since stays disabled.
        if no_socket is None and self._folders.is_searched and (is_first or manifest.owns(link.path)):
            chosen.append(link)
        return chosen if self._env is None else [*chosen, *parts.environment(self._folders, self._env)]

    @property
    def _socket_link(self) -> Path:
        """A link by which systemd holds the socket from login on."""
        return self._folders.config / UNITS / "sockets.target.wants" / SOCKET

    def _take_up(self, changed: set[Path], *, was_active: bool) -> None:
        """Let systemd and the bus know, and replace the daemon if it runs."""
        self._machine.reload()
        if self._machine.no_manager is not None:
            return
        socket = self._folders.data / UNITS / SOCKET
        if was_active and changed & {self._folders.venv, socket.with_name(SERVICE), socket}:
            self._machine.replace_daemon(socket_too=socket in changed and self._machine.is_active(SOCKET))
            self._lines.append("the running daemon was replaced, and the new one serves")
        elif not was_active and socket in changed and self._socket_link.is_symlink():
            try:
                self._machine.restart(SOCKET)
                self._lines.append("systemd holds the port; the first request starts the daemon")
            except InstallError as error:
                self._lines.append(f"left out: starting on demand: {error}")

    def _put_back(self, changes: Transaction, *, was_active: bool, held_socket: bool) -> None:
        if not changes.before:
            return
        changes.undo()
        with suppress(InstallError):  # the reason that counts is the first one
            self._machine.reload()
            if was_active:
                self._machine.replace_daemon(socket_too=held_socket)

    def _write_configuration(self, manifest: Manifest) -> None:
        """Write a configuration that changes nothing, where there is none: neither the user's nor one for all users."""
        path = self._folders.config / NAME / CONFIG
        shared = (self._machine.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
        places = [path, *(Path(folder, NAME, CONFIG) for folder in shared if Path(folder).is_absolute())]
        there = next((each for each in places if found(each) is not None), None)
        if there is not None:
            self._lines.append(f"the configuration {there} stays as it is")
            return
        manifest.make_folder(path.parent)
        write(Part(path, parts.template(CONFIG), mode=0o600))
        self._lines.append(f"wrote a configuration to begin with: {path}")

    def _summary(self, changes: Transaction) -> list[str]:
        folders, machine = self._folders, self._machine
        removed = sum(found(path) is None for path in changes.before)
        written = len(changes.before) - removed
        counts = f"{written or 'no'} files written" + (f", {removed} removed" if removed else "")
        lines = [f"in {folders.data} and {folders.commands}: {counts}"]
        lines += [f"left out: {path}: somebody else wrote or changed it, so it stays" for path in changes.kept]
        if not folders.is_searched:
            lines.append(f"next: have systemd, D-Bus and the desktop look there: add {folders.data} to XDG_DATA_DIRS")
        elif machine.no_manager is None:
            lines.append("next: systemctl --user start ollama-proxyd     starts it now; else the first request does")
        elif machine.lacks("systemd") is None:
            lines.append(f"left out: telling systemd: {machine.no_manager}; it finds the units at the next login")
        if self._env and str(folders.commands) not in machine.environ.get("PATH", "").split(":"):
            lines.append(f"next: add {folders.commands} to PATH, and log in again")
        if any(path.parent.name == EXTENSION for path in changes.before):
            lines.append(f"next: log out and in, then: gnome-extensions enable {EXTENSION}")
        return [
            *lines,
            "next: ollama-proxyctl doctor     says what is missing here",
            f"next: {self._where.url}/dashboard",
        ]


def remove_unused(folders: Folders, manifest: Manifest) -> None:
    """Remove environments that are not in use, and the manifest of an installation that never was."""
    in_use = folders.venv.resolve()
    for env in folders.environments.glob("*"):
        if env.resolve() != in_use:
            shutil.rmtree(env, ignore_errors=True)
    if not manifest.files and not manifest.is_whole:
        manifest.remove()


def uninstall(folders: Folders, manifest: Manifest, machine: Machine, *, purge: bool) -> list[str]:
    """Uninstall, and return the report."""
    if manifest.path.exists():
        lines = _remove(folders, manifest, machine)
    else:
        lines = [f"nothing of ollama-proxyd is installed in {folders.data}"]
    for folder in (folders.config / NAME, folders.state / NAME):
        if not folder.exists():
            continue
        lines.append(f"removed {folder}" if purge else f"{folder} stays (--purge removes it too)")
        if purge:
            shutil.rmtree(folder)
    if purge:
        remove_empty(manifest.folders)
        machine.tell_session("dconf", "reset", "-f", EXTENSION_SETTINGS)
    return lines


def _remove(folders: Folders, manifest: Manifest, machine: Machine) -> list[str]:
    paths = [Path(name) for name in manifest.files]
    # With a prefix, another installation may be the one that runs.
    if folders.is_searched and any(path.parent.name == EXTENSION for path in paths):
        machine.tell_session("gnome-extensions", "disable", EXTENSION)
    if any(folders.is_searched or machine.uses(path) for path in paths if path.parent == folders.data / UNITS):
        machine.stop()
    shutil.rmtree(folders.environments, ignore_errors=True)
    stay = manifest.remove()
    machine.reload()
    if machine.environ.get("XDG_RUNTIME_DIR"):
        remove_empty([str(Path(machine.environ["XDG_RUNTIME_DIR"], NAME))])
    changed = [f"left out: {path}: somebody has changed it, so it stays" for path in stay]
    return [f"removed {len(paths) - len(stay)} files in {folders.data} and elsewhere", *changed]
