"""Removes what an installation has written, and nothing else."""

import shutil
from contextlib import suppress
from pathlib import Path

from ollama_proxyd.cli.install.manifest import Manifest


def remove(manifest: Manifest) -> list[Path]:
    """Remove all of it, the list itself last; returns the files that stay because somebody has changed them."""
    stay = []
    for name in manifest.files:
        path = Path(name)
        if manifest.wrote(path):
            path.unlink()
        elif path.is_symlink() or path.exists():
            stay.append(path)
    for tree in manifest.trees:
        shutil.rmtree(tree, ignore_errors=True)
    manifest.path.unlink(missing_ok=True)
    remove_empty(manifest.folders)
    return stay


def remove_empty(folders: list[str]) -> None:
    """Remove these folders as far as nothing is in them, the deepest first."""
    for folder in sorted(folders, key=lambda name: name.count("/"), reverse=True):
        with suppress(OSError):
            Path(folder).rmdir()
