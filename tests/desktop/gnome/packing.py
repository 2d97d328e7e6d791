"""The extension as people install it."""

import subprocess
import zipfile
from pathlib import Path

from tests.real_things import ROOT, installed


def unpacked_extension(folder: Path) -> Path:
    """What scripts/pack-extension makes, unpacked somewhere in that folder; a loud skip where it cannot be made."""
    installed("install-extension-checks")
    packed = subprocess.run([ROOT / "scripts/pack-extension", folder], check=True, capture_output=True, text=True)
    with zipfile.ZipFile(packed.stdout.strip()) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"
