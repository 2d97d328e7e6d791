"""Puts parts in place so that all of it can be undone, and never over a file that is somebody else's."""

from collections.abc import Iterable
from pathlib import Path

from ollama_proxyd.cli.install.manifest import Manifest
from ollama_proxyd.cli.install.part import Part, found, write


class Placing:
    """What one installation changes. `changed` are the paths, `kept` those that others have written or changed.

    The manifest is saved at each step, so that the next run knows its files even where this one is killed.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._files_before = dict(manifest.files)
        self._before: list[tuple[Path, Part | None]] = []
        self.changed: list[Path] = []
        self.kept: list[Path] = []

    def put(self, parts: Iterable[Part]) -> None:
        """Write what is not there yet, and remove what an earlier version had written and this one does not have."""
        wanted = {str(part.path): part for part in parts}
        for name in [name for name in self._manifest.files if name not in wanted]:
            self._drop(Path(name))
        for part in wanted.values():
            self._put(part)

    def undo(self) -> None:
        """Put back what was there before; folders that were made stay on the list."""
        for path, before in reversed(self._before):
            if before is None:
                path.unlink(missing_ok=True)
            else:
                write(before)
        self._manifest.files.clear()
        self._manifest.files.update(self._files_before)
        self._before.clear()

    def _put(self, part: Part) -> None:
        now = found(part.path)
        is_ours = self._manifest.wrote(part.path)
        if now is not None and not is_ours:
            if now.digest != part.digest:
                self.kept.append(part.path)
            return
        if now == part:
            return
        self._manifest.make_folder(part.path.parent)
        self._manifest.save()
        write(part)
        self._manifest.files[str(part.path)] = part.digest
        self._change(part.path, now)

    def _drop(self, path: Path) -> None:
        is_ours, before = self._manifest.wrote(path), found(path)
        del self._manifest.files[str(path)]
        if is_ours:
            path.unlink()
            self._change(path, before)

    def _change(self, path: Path, before: Part | None) -> None:
        self._before.append((path, before))
        self.changed.append(path)
        self._manifest.save()
