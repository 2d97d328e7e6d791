"""Files of an installation and their manifest: what may be replaced, and what is removed in the end."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

FILE = "installed.json"
FORMAT = 1


class InstallError(Exception):
    """Nothing was changed, or it was put back; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file with its content, or a link."""

    path: Path
    content: bytes = b""
    link_to: str | None = None
    mode: int = 0o644

    @property
    def digest(self) -> str:
        """A checksum of the content."""
        return hashlib.sha256(self.content).hexdigest() if self.link_to is None else f"link:{self.link_to}"


def found(path: Path) -> Part | None:
    """The file that exists; None for nothing."""
    if path.is_symlink():
        return Part(path, link_to=str(path.readlink()))
    if not path.exists():
        return None
    return Part(path, content=path.read_bytes() if path.is_file() else b"\0", mode=path.stat().st_mode & 0o777)


def write(part: Part) -> None:
    """Write in one step (rename(2)): a reader sees the old file or the new one."""
    beside = part.path.with_name(f".{part.path.name}.new")
    beside.unlink(missing_ok=True)
    try:
        if part.link_to is not None:
            beside.symlink_to(part.link_to)
        else:
            beside.write_bytes(part.content)
            beside.chmod(part.mode)
        beside.replace(part.path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


@dataclass(slots=True)
class Manifest:
    """Files with the checksums that are ours, one a line, and folders that were made.

    `is_whole` says whether an installation has ever come to its end.
    """

    path: Path
    files: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    is_whole: bool = False

    def owns(self, path: Path) -> bool:
        """Whether the file is unchanged since it was written; a changed file belongs to its editor."""
        now = found(path)
        return now is not None and now.digest in self.files.get(str(path), "").splitlines()

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it; the manifest lists the new ones before they are there."""
        if not folder.is_dir():
            self._list_missing(folder)
            self.save()
            folder.mkdir(parents=True, exist_ok=True)

    def _list_missing(self, folder: Path) -> None:
        missing = {str(each) for each in (folder, *folder.parents) if not each.is_dir()}
        self.folders = sorted(missing.union(self.folders))

    def save(self) -> None:
        """Write the manifest, if it changed."""
        self._list_missing(self.path.parent)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"format": FORMAT, "files": self.files, "folders": self.folders, "is_whole": self.is_whole}
        part = Part(self.path, json.dumps(facts, indent=1, sort_keys=True).encode() + b"\n")
        if found(self.path) != part:
            write(part)

    def remove(self) -> list[Path]:
        """Remove the files, then the manifest; returns changed files, which stay."""
        paths = [Path(name) for name in self.files]
        for path in filter(self.owns, paths):
            path.unlink()
        self.path.unlink(missing_ok=True)
        remove_empty(self.folders)
        return [path for path in paths if path.is_symlink() or path.exists()]


def load(folder: Path) -> Manifest:
    """The manifest in the program's own folder; an empty one where nothing was installed."""
    path = folder / FILE
    try:
        facts = json.loads(path.read_bytes())
        if facts["format"] != FORMAT:
            raise InstallError(f"{path} was written by another version; use that version's uninstall first")
        return Manifest(path, dict(facts["files"]), list(facts["folders"]), bool(facts["is_whole"]))
    except FileNotFoundError:
        return Manifest(path)
    except (ValueError, KeyError, TypeError) as error:
        raise InstallError(f"{path} cannot be read ({error}); remove it, and install again") from None


def remove_empty(folders: Iterable[str]) -> None:
    """Remove the folders that are empty, the deepest first."""
    for folder in sorted(folders, key=lambda name: name.count("/"), reverse=True):
        with suppress(OSError):
            Path(folder).rmdir()


class Transaction:
    """Changes of one run, which can be undone. kept: files of others, which stay as they are."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._files_before = dict(manifest.files)
        self.before: dict[Path, Part | None] = {}
        self.kept: list[Path] = []

    def put(self, parts: Iterable[Part]) -> None:
        """Write new and changed parts, and remove files that only an earlier version had."""
        wanted = {part.path: part for part in parts}
        before = self._files_before
        there = {path: found(path) for path in {**dict.fromkeys(map(Path, before)), **wanted}}
        theirs = {path: now for path, now in there.items() if now is not None and not self._manifest.owns(path)}
        self.kept = [path for path, now in theirs.items() if path in wanted and now.digest != wanted[path].digest]
        ours = [path for path in there if path not in theirs]
        after = {str(path): part.digest for path, part in wanted.items() if path in ours}
        after |= {name: before[name] for name in map(str, wanted) if name in before and name not in after}
        changes = [path for path in ours if there[path] != wanted.get(path)]
        if changes:
            # Both checksums at first: the next run knows its files, wherever this one is killed.
            self._manifest.files = {name: f"{before.get(name)}\n{after.get(name)}" for name in {**before, **after}}
            self._manifest.save()
        for path in changes:
            if path in wanted:
                self._manifest.make_folder(path.parent)
            self.before[path] = there[path]
            _replace(path, wanted.get(path))
        self._manifest.files = after

    def undo(self) -> None:
        """Restore the files of before; new folders stay in the manifest."""
        for path, before in reversed(self.before.items()):
            if found(path) != before:
                _replace(path, before)
        self._manifest.files = self._files_before
        self.before = {}


def _replace(path: Path, part: Part | None) -> None:
    if part is None:
        path.unlink(missing_ok=True)
    else:
        write(part)
