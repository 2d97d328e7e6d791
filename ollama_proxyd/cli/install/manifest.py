"""The list of everything that an installation has written: what may be replaced, and what is removed in the end."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from ollama_proxyd.cli.install.failures import InstallError
from ollama_proxyd.cli.install.part import Part, found, write

FILE = "installed.json"
FORMAT = 1


@dataclass(slots=True)
class Manifest:
    """Files with what they held when they were written, folders that were made, and whole trees.

    `is_whole` says whether an installation has ever come to its end.
    """

    path: Path
    files: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)
    is_whole: bool = False

    def wrote(self, path: Path) -> bool:
        """Whether what is there now is what was written; a file that somebody has changed is theirs."""
        now = found(path)
        return now is not None and self.files.get(str(path)) == now.digest

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, and remember which of them are new."""
        if folder.is_dir():
            return
        self.make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        if str(folder) not in self.folders:
            self.folders.append(str(folder))

    def save(self) -> None:
        """Write it down, unless it stands there so already."""
        self.make_folder(self.path.parent)
        content = {
            "format": FORMAT,
            "files": self.files,
            "folders": sorted(self.folders),
            "trees": self.trees,
            "is_whole": self.is_whole,
        }
        part = Part(self.path, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")
        if found(self.path) != part:
            write(part)


def load(folder: Path) -> Manifest:
    """The list in the program's own folder; an empty one where nothing was installed."""
    path = folder / FILE
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise InstallError(f"{path} was written by another version; use that version's uninstall first")
        lists = (dict(content["files"]), list(content["folders"]), list(content["trees"]))
        return Manifest(path, *lists, is_whole=bool(content["is_whole"]))
    except FileNotFoundError:
        return Manifest(path)
    except (ValueError, KeyError, TypeError) as error:
        raise InstallError(f"{path} cannot be read ({error}); remove it, and install again") from None
