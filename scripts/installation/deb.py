"""`scripts/build-deb`: a Debian package with everything in it, the same bytes each time."""

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from email.utils import formatdate
from pathlib import Path

import pack_extension

from installation import extension, project, wheels
from ollama_proxyd.cli.install import parts
from ollama_proxyd.cli.install.failures import InstallError
from ollama_proxyd.cli.install.folders import of_system
from ollama_proxyd.cli.install.part import Part
from ollama_proxyd.cli.install.templates import SERVICE, SOCKET, Site

NAME, REVISION = "ollama-proxyd", "1"
PYTHON, NEXT_PYTHON, SUITE = "3.13", "3.14", "trixie"
LIBRARY = f"usr/lib/{NAME}"
TOOLS = {"dpkg-deb": "dpkg", "dpkg": "dpkg", "strip": "binutils"}
SOURCES = project.CHECKOUT / "scripts" / "installation" / "debian"


def arguments() -> argparse.ArgumentParser:
    """What scripts/build-deb takes."""
    parser = argparse.ArgumentParser(prog="build-deb", description=f"Build a package for Debian's {SUITE}.")
    parser.add_argument("--find-links", action="append", default=[], metavar="DIR", help="wheels, instead of an index")
    parser.add_argument("out", nargs="?", type=Path, default=project.CHECKOUT / "dist", help="where it goes")
    return parser


def build(out: Path, links: list[str]) -> Path:
    """Build it; returns the file."""
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise InstallError(f"{tool} is missing; on Debian: sudo apt install {package}")
    epoch_s = _epoch_s()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary, "root")
        _libraries(root / LIBRARY, Path(temporary, "wheels"), links)
        project.put_package(root / LIBRARY)
        _programs(root / "usr/bin")
        _parts(root, Path(temporary))
        _documents(root / "usr/share/doc" / NAME, epoch_s)
        overrides = root / "usr/share/lintian/overrides"
        overrides.mkdir(parents=True)
        shutil.copyfile(SOURCES / "lintian-overrides", overrides / NAME)
        _control(root)
        _settle(root, epoch_s)
        return _packed(root, out, epoch_s)


def _epoch_s() -> int:
    """The time that all files get."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    command = ["git", "-C", str(project.CHECKOUT), "log", "-1", "--format=%ct"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        said = ""
    return int(said) if said else int((project.CHECKOUT / "CHANGELOG.md").stat().st_mtime)


def _libraries(folder: Path, fetched: Path, links: list[str]) -> None:
    fetched.mkdir()
    wheels.fetch(fetched, PYTHON, links)
    folder.mkdir(parents=True)
    wheels.unpack(fetched, folder)
    for path in sorted(folder.rglob("*.so")):
        subprocess.run(["strip", "--strip-unneeded", str(path)], check=True)


def _programs(folder: Path) -> None:
    folder.mkdir(parents=True)
    project.put_programs(folder, "#!/usr/bin/python3 -sP", f'import sys\n\nsys.path.insert(0, "/{LIBRARY}")\n\n')


def _parts(root: Path, temporary: Path) -> None:
    """What systemd, the bus, shells and the desktop read."""
    folders, where = of_system(root), Site(Path("/usr/bin"))
    project.put_shared(temporary)
    in_library = folders.data.parent / "lib/systemd/user"
    units = [Part(in_library / part.path.name, part.content) for part in parts.units(folders, where, SERVICE, SOCKET)]
    found, missing = extension.parts(folders.extensions)
    if missing:
        raise InstallError("; ".join(missing))
    shared = parts.shared(folders, temporary / "share")
    for part in (*units, *parts.activation(folders, where), *parts.application(folders, where), *found, *shared):
        is_man = "/share/man/" in str(part.path)
        path = part.path.with_name(f"{part.path.name}.gz") if is_man else part.path
        _write(path, _zipped(part.content) if is_man else part.content)


def _documents(folder: Path, epoch_s: int) -> None:
    licence = (project.CHECKOUT / "LICENSE").read_text(encoding="utf-8")
    body = "\n".join(f" {line}" if line else " ." for line in licence.splitlines()[4:])
    listed = "\n".join(f" {name} {of} ({licence})" for name, of, licence in wheels.bundled(folder.parents[3] / LIBRARY))
    text = (SOURCES / "copyright").read_text(encoding="utf-8").replace("@body@", body.strip("\n"))
    _write(folder / "copyright", text.replace("@bundled@", listed).encode())
    _write(folder / "changelog.gz", _zipped((project.CHECKOUT / "CHANGELOG.md").read_bytes()))
    entry = f"{NAME} ({project.version()}-{REVISION}) {SUITE}; urgency=medium\n\n  * See changelog.gz.\n\n"
    signed = f"{entry} -- {_maintainer()}  {formatdate(epoch_s)}\n"
    _write(folder / "changelog.Debian.gz", _zipped(signed.encode()))
    for page in sorted((project.CHECKOUT / "docs").glob("*.md")):
        _write(folder / page.name, page.read_bytes())
    for example in sorted((project.CHECKOUT / "config/examples").glob("*.yaml")):
        _write(folder / "examples" / example.name, example.read_bytes())
    _write(folder / "examples" / "config.yaml", (project.CHECKOUT / "config/config.yaml").read_bytes())


def _control(root: Path) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    size_kib = sum(path.stat().st_size for path in files) // 1024
    sums = "".join(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files)
    values = {
        "version": f"{project.version()}-{REVISION}",
        "architecture": _said("dpkg", "--print-architecture"),
        "maintainer": _maintainer(),
        "size": str(size_kib),
        "python": f"python3 (>= {PYTHON}~), python3 (<< {NEXT_PYTHON}~)",
    }
    control = (SOURCES / "control").read_text(encoding="utf-8")
    for name, value in values.items():
        control = control.replace(f"@{name}@", value)
    _write(root / "DEBIAN/control", control.encode())
    _write(root / "DEBIAN/md5sums", sums.encode())
    for name in ("postinst", "prerm"):
        _write(root / "DEBIAN" / name, (SOURCES / name).read_bytes())


def _settle(root: Path, epoch_s: int) -> None:
    """The same rights and the same time for everything."""
    for path in (root, *root.rglob("*")):
        runs = path.is_dir() or path.parent == root / "usr/bin" or path.name in {"postinst", "prerm"}
        path.chmod(0o755 if runs else 0o644)
        os.utime(path, (epoch_s, epoch_s))


def _packed(root: Path, out: Path, epoch_s: int) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{NAME}_{project.version()}-{REVISION}_{_said('dpkg', '--print-architecture')}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--threads-max=1", "--build", str(root), str(target)]
    environ = os.environ | {"SOURCE_DATE_EPOCH": str(epoch_s)}
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    return target


def _maintainer() -> str:
    name = os.environ.get("DEBFULLNAME", "The ollama-proxyd authors")
    return f"{name} <{os.environ.get('DEBEMAIL', 'ollama-proxyd@fio.ie')}>"


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _zipped(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def main(words: list[str]) -> int:
    """Build, and print where the package lies."""
    chosen = arguments().parse_args(words)
    try:
        print(build(chosen.out, [str(Path(folder).absolute()) for folder in chosen.find_links]))
    except (InstallError, OSError, pack_extension.RefusedError, subprocess.CalledProcessError) as error:
        print(f"build-deb: {error}", file=sys.stderr)
        return 1
    return 0
