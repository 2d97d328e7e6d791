"""Installs: puts parts in place, replaces a running daemon, and puts all back if the new one does not serve."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from os.path import commonpath
from pathlib import Path

from ollama_proxyd.cli.install import parts, settings, surroundings
from ollama_proxyd.cli.install.failures import InstallError
from ollama_proxyd.cli.install.folders import Folders
from ollama_proxyd.cli.install.manager import UserManager
from ollama_proxyd.cli.install.manifest import Manifest
from ollama_proxyd.cli.install.part import Part
from ollama_proxyd.cli.install.placing import Placing
from ollama_proxyd.cli.install.report import Report
from ollama_proxyd.cli.install.templates import SERVICE, SOCKET, Site

FEW = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be installed. own: the parts besides units and activation; own_left_out: those that are not there.

    is_searched: whether systemd, the bus and the desktop look into these folders.
    """

    folders: Folders
    site: Site
    environ: Mapping[str, str]
    own: list[Part] = field(default_factory=list)
    own_left_out: list[str] = field(default_factory=list)
    is_searched: bool = True


def install(wanted: Wanted, manifest: Manifest) -> Report:
    """Do it; raises InstallError, and then all is as it was."""
    report = Report(wanted.folders.home)
    is_first = not manifest.is_whole
    placing = Placing(manifest)
    manager = UserManager(wanted.environ)
    was_active = wanted.is_searched and manager.is_active(SERVICE)
    held_socket = wanted.is_searched and manager.is_active(SOCKET)
    try:
        placing.put(_parts(wanted, manifest, report, is_first=is_first))
        if wanted.is_searched and placing.changed:
            _take_up(manager, placing, wanted.folders, report, was_active=was_active)
        if is_first:
            manifest.make_folder(wanted.folders.memory)  # so that it is known whether the folders above it are ours
            settings.write_once(wanted.folders, manifest, wanted.environ, report)
        manifest.is_whole = True
    except (InstallError, OSError, KeyboardInterrupt, SystemExit) as error:
        _put_back(placing, manager, was_active=was_active, held_socket=held_socket)
        reason = "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else error
        raise InstallError(f"{reason}\nAll files are again as they were before.") from error
    finally:
        manifest.save()
    _tell(wanted, placing, manager, report)
    return report


def _parts(wanted: Wanted, manifest: Manifest, report: Report, *, is_first: bool) -> list[Part]:
    chosen = parts.service(wanted.folders, wanted.site, wanted.environ)
    report.left_out += [*chosen.left_out, *wanted.own_left_out]
    socket = wanted.folders.units / SOCKET
    link = Part(wanted.folders.wanted_sockets / SOCKET, link_to=str(socket))
    has_socket = any(part.path == socket for part in chosen.parts)
    # once, like the configuration: who has disabled it since does not want it
    if has_socket and wanted.is_searched and (is_first or manifest.wrote(link.path)):
        chosen.parts.append(link)
    return [*chosen.parts, *wanted.own]


def _take_up(manager: UserManager, placing: Placing, folders: Folders, report: Report, *, was_active: bool) -> None:
    """Let systemd and the bus know, and replace the daemon if it runs."""
    manager.reload()
    if manager.missing is not None:
        return
    changed = set(placing.changed)
    socket = folders.units / SOCKET
    if was_active and changed & {folders.app / "venv", folders.units / SERVICE, socket}:
        manager.restart(socket_too=socket in changed and manager.is_active(SOCKET))
        report.done.append("the running daemon was replaced, and the new one serves")
    elif not was_active and socket in changed and (folders.wanted_sockets / SOCKET).is_symlink():
        _hold_socket(manager, report)


def _hold_socket(manager: UserManager, report: Report) -> None:
    try:
        manager.start(SOCKET, "restart")
    except InstallError as error:
        report.left_out.append(f"starting on demand: {error}")
    else:
        report.done.append("systemd holds the port; the first request starts the daemon")


def _put_back(placing: Placing, manager: UserManager, *, was_active: bool, held_socket: bool) -> None:
    if not placing.changed:
        return
    placing.undo()
    with suppress(InstallError):  # the reason that counts is the first one
        manager.reload()
        if was_active:
            manager.restart(socket_too=held_socket)


def _tell(wanted: Wanted, placing: Placing, manager: UserManager, report: Report) -> None:
    folders = wanted.folders
    count = len(placing.changed)
    where = f"in {report.shown(folders.data)} and {report.shown(folders.commands)}"
    report.done.append(f"{where}: {count or 'no'} {'file' if count == 1 else 'files'} written or removed")
    report.left_out += _kept(placing.kept, report)
    own = folders.config / "systemd" / "user" / SERVICE
    if own.exists():
        report.left_out.append(f"{report.shown(own)} stands above the unit that was installed; remove it to use that")
    if not wanted.is_searched:
        report.next.append(f"have systemd, D-Bus and the desktop look there: add {folders.data} to XDG_DATA_DIRS")
    elif manager.missing is None:
        report.next.append("systemctl --user start ollama-proxyd     starts it now; else the first request does")
    elif surroundings.why_no_systemd(wanted.environ) is None:
        report.left_out.append(f"telling systemd: {manager.missing}; it finds the units at the next login")
    if wanted.own and str(folders.commands) not in wanted.environ.get("PATH", "").split(":"):
        report.next.append(f"add {folders.commands} to PATH, and log in again")
    report.next += ["ollama-proxyctl doctor     says what is missing on this machine", f"{wanted.site.url}/dashboard"]


def _kept(paths: Sequence[Path], report: Report) -> list[str]:
    """The files that others have; many of them are said in one line."""
    if len(paths) > FEW:
        return [
            f"{len(paths)} files in {report.shown(Path(commonpath(paths)))}: somebody else wrote them, so they stay"
        ]
    return [f"{report.shown(path)}: somebody else wrote or changed it, so it stays" for path in paths]
