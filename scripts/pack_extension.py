"""Makes the zip of the GNOME extension: the same content each time, and nothing that is not meant to be shipped."""

import argparse
import json
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "gnome-extension"
SHIPPED = (
    "metadata.json",
    "extension.js",
    "prefs.js",
    "stylesheet.css",
    "schemas/*.gschema.xml",
    "icons/*.svg",
)
"""What is shipped besides the modules that extension.js and prefs.js import."""
NOT_SHIPPED = ("README.md", "eslint.config.js", "package.json", "package-lock.json", "po/*.po", "po/*.pot")
"""What lies in the folder for those who work on the extension."""
NEEDED = ("metadata.json", "extension.js")
LONG_AGO = (1980, 1, 1, 0, 0, 0)


class RefusedError(Exception):
    """The extension cannot be packed; the message says what to do."""


def files(source: Path) -> list[PurePosixPath]:
    """Every file below `source`, but for what npm installed, in order."""
    return sorted(
        PurePosixPath(path.relative_to(source).as_posix())
        for path in source.rglob("*")
        if path.is_file() and path.relative_to(source).parts[0] != "node_modules"
    )


def matches(path: PurePosixPath, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns is meant: they say in which folder, too."""
    return any(fnmatchcase(str(path), each) and len(path.parts) == each.count("/") + 1 for each in patterns)


def shipped(source: Path) -> list[PurePosixPath]:
    """What goes into the zip as it is; RefusedError names files that are strays or missing."""
    everything = files(source)
    chosen = [path for path in everything if matches(path, SHIPPED) or is_module(path)]
    strays = [str(path) for path in everything if path not in chosen and not matches(path, NOT_SHIPPED)]
    missing = [name for name in NEEDED if PurePosixPath(name) not in chosen]
    complaints = [
        f"{source / name}: nothing says whether it is shipped; remove it, or name it in SHIPPED or NOT_SHIPPED"
        f" of {Path(__file__).name}"
        for name in strays
    ]
    complaints += [f"{source / name}: it is missing, and an extension needs it" for name in missing]
    if complaints:
        raise RefusedError("\n".join(complaints))
    return chosen


def is_module(path: PurePosixPath) -> bool:
    """Whether it is code of the extension: beside extension.js, of the preferences, or of both."""
    return path.suffix == ".js" and not matches(path, NOT_SHIPPED) and str(path.parent) in {".", "prefs", "shared"}


def translations(source: Path, domain: str) -> dict[str, bytes]:
    """Every translation as a program reads it, by its path in the zip."""
    compiler = shutil.which("msgfmt")
    found = sorted((source / "po").glob("*.po"))
    if found and compiler is None:
        raise RefusedError("msgfmt is missing, which compiles the translations; install the package gettext")
    return {
        f"locale/{po.stem}/LC_MESSAGES/{domain}.mo": subprocess.run(
            [str(compiler), "--output-file=-", str(po)], check=True, stdout=subprocess.PIPE
        ).stdout
        for po in found
    }


def content(source: Path) -> dict[str, bytes]:
    """The files of the zip by their paths in it, in order."""
    as_they_are = {str(path): (source / path).read_bytes() for path in shipped(source)}
    metadata = json.loads(as_they_are["metadata.json"])
    as_they_are["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    return dict(sorted({**as_they_are, **translations(source, metadata["gettext-domain"])}.items()))


def pack(source: Path, out: Path) -> Path:
    """Write the zip into the folder `out`."""
    packed = content(source)
    uuid = json.loads(packed["metadata.json"])["uuid"]
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{uuid}.shell-extension.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in packed.items():
            entry = zipfile.ZipInfo(name, LONG_AGO)  # no time and no owner: the same zip each time
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    return target


def main(arguments: list[str]) -> int:
    """Pack, or list what would be packed."""
    parser = argparse.ArgumentParser(prog="pack-extension", description=__doc__)
    parser.add_argument("--list", action="store_true", help="only print what the zip would hold")
    parser.add_argument("--source", type=Path, default=SOURCE, help="the extension's folder")
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "dist", help="where the zip goes")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.list:
            print(*content(chosen.source), sep="\n")
        else:
            print(pack(chosen.source, chosen.out))
    except RefusedError as refused:
        print(f"pack-extension: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
