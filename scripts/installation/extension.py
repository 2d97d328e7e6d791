"""The GNOME extension as GNOME Shell reads it from a folder: with compiled settings and translations."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pack_extension

from installation import project
from ollama_proxyd.cli.install.part import Part

SOURCE = project.CHECKOUT / "gnome-extension"
COMPILER = "glib-compile-schemas"


def parts(extensions: Path) -> tuple[list[Part], list[str]]:
    """Its files, and what is left out with the reason."""
    if shutil.which(COMPILER) is None:
        return [], [f"the GNOME extension: {COMPILER} is missing, which compiles its settings (package libglib2.0-bin)"]
    left_out = []
    if shutil.which("msgfmt") is None:
        left_out.append("the translations of the GNOME extension: msgfmt is missing (package gettext)")
        content = {str(path): (SOURCE / path).read_bytes() for path in pack_extension.shipped(SOURCE)}
    else:
        content = pack_extension.content(SOURCE)
    content["schemas/gschemas.compiled"] = _compiled()
    folder = extensions / json.loads(content["metadata.json"])["uuid"]
    return [Part(folder / name, data) for name, data in content.items()], left_out


def _compiled() -> bytes:
    with tempfile.TemporaryDirectory() as made:
        subprocess.run([COMPILER, "--strict", f"--targetdir={made}", str(SOURCE / "schemas")], check=True)
        return Path(made, "gschemas.compiled").read_bytes()
