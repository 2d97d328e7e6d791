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
from importlib.metadata import distributions
from pathlib import Path

import project

from ollama_proxyd import __version__
from ollama_proxyd.cli.install import parts
from ollama_proxyd.cli.install.files import InstallError
from ollama_proxyd.cli.install.machine import SERVICE, SOCKET

NAME, REVISION = "ollama-proxyd", "1"
PYTHON, NEXT_PYTHON, SUITE = "3.13", "3.14", "trixie"
LIBRARY = f"usr/lib/{NAME}"
START = f'import sys\n\nsys.path.insert(0, "/{LIBRARY}")\n\n'
VERSION = f"{__version__}-{REVISION}"
TOOLS = {"dpkg-deb": "dpkg", "strip": "binutils", "glib-compile-schemas": "libglib2.0-bin", "msgfmt": "gettext"}
OF_NO_USE = {".c", ".h", ".pxd", ".pyi", ".pyx"}
"""Sources of what is there as compiled code."""
NO_PIP = "without pip: sudo apt install python3-pip, or PYTHON=.venv/bin/python"
UNNAMED = "see its licence file"
MAINTAINER = "{DEBFULLNAME} <{DEBEMAIL}>".format(
    **{"DEBFULLNAME": "The ollama-proxyd authors", "DEBEMAIL": "ollama-proxyd@fio.ie", **os.environ}
)
SOURCES = project.CHECKOUT / "scripts" / "installation" / "debian"


def build(out: Path, links: list[str]) -> Path:
    """Build it; returns the file."""
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise InstallError(f"{tool} is missing; on Debian: sudo apt install {package}")
    epoch_s = _epoch_s()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary, "root")
        _libraries(root / LIBRARY, links)
        project.put_package(root / LIBRARY)
        (root / "usr/bin").mkdir(parents=True)
        project.put_programs(root / "usr/bin", "#!/usr/bin/python3 -sP", START)
        _parts(root / "usr")
        _documents(root / "usr/share/doc" / NAME, epoch_s)
        _write(root / "usr/share/lintian/overrides" / NAME, (SOURCES / "lintian-overrides").read_bytes())
        _control(root)
        _settle(root, epoch_s)
        return _packed(root, out, epoch_s)


def _epoch_s() -> int:
    """The time that all files get: the one given, the last commit's, or the changelog's."""
    git = shutil.which("git") or "false"
    command = [git, "-C", str(project.CHECKOUT), "log", "-1", "--format=%ct"]
    committed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    changelog = (project.CHECKOUT / "CHANGELOG.md").stat().st_mtime
    return int(os.environ.get("SOURCE_DATE_EPOCH") or committed or changelog)


def _libraries(folder: Path, links: list[str]) -> None:
    """The libraries of the lock, from `links` alone if there are any, without what only a compiler would read."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-compile"]
    source = ["--no-index", *(f"--find-links={link}" for link in links)] if links else []
    target = ["--python-version", PYTHON, "--target", str(folder)]
    done = subprocess.run([*command, *source, *target, *project.STRICT], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InstallError(f"the wheels of {project.LOCK.name} could not be fetched:\n{done.stderr.strip()}\n{NO_PIP}")
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for path in sorted(folder.rglob("*")):
        if path.suffix in OF_NO_USE:
            path.unlink()
        elif path.suffix == ".so":
            subprocess.run(["strip", "--strip-unneeded", str(path)], check=True)


def _parts(usr: Path) -> None:
    """Files for systemd, the bus, shells and the desktop."""
    share, where = usr / "share", parts.Site(Path("/usr/bin"))
    project.put_shared(usr)
    (share / "zsh/site-functions").rename(share / "zsh/vendor-completions")
    for page in sorted((share / "man").glob("*/*")):
        _write(page.with_name(f"{page.name}.gz"), _zipped(page.read_bytes()))
        page.unlink()
    project.put_extension(share)
    units = parts.units(usr / "lib", where, SERVICE, SOCKET)
    for part in (*units, *parts.activation(share, where), *parts.application(share, where)):
        _write(part.path, part.content)


def _documents(folder: Path, epoch_s: int) -> None:
    licence = (project.CHECKOUT / "LICENSE").read_text(encoding="utf-8")
    body = "\n".join(f" {line}" if line else " ." for line in licence.splitlines()[4:])
    listed = "\n".join(_bundled(folder.parents[3] / LIBRARY))
    text = (SOURCES / "copyright").read_text(encoding="utf-8").replace("@body@", body.strip("\n"))
    _write(folder / "copyright", text.replace("@bundled@", listed).encode())
    _write(folder / "changelog.gz", _zipped((project.CHECKOUT / "CHANGELOG.md").read_bytes()))
    entry = f"{NAME} ({VERSION}) {SUITE}; urgency=medium\n\n  * See changelog.gz.\n\n"
    signed = f"{entry} -- {MAINTAINER}  {formatdate(epoch_s)}\n"
    _write(folder / "changelog.Debian.gz", _zipped(signed.encode()))
    for pattern, place in (("docs/*.md", "."), ("config/examples/*.yaml", "examples"), ("config/*.yaml", "examples")):
        for path in project.CHECKOUT.glob(pattern):
            _write(folder / place / path.name, path.read_bytes())


def _bundled(site_packages: Path) -> list[str]:
    """Name, version and licence of each library."""
    found = sorted(distributions(path=[str(site_packages)]), key=lambda each: each.name)
    facts = (
        (each, each.metadata.get("License-Expression") or each.metadata.get("License") or UNNAMED) for each in found
    )
    return [f" {each.name} {each.version} ({licence.splitlines()[0]})" for each, licence in facts]


def _control(root: Path) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    size_kib = sum(path.stat().st_size for path in files) // 1024
    sums = "".join(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files)
    control = (
        (SOURCES / "control")
        .read_text(encoding="utf-8")
        .format(
            version=VERSION,
            architecture=_architecture(),
            maintainer=MAINTAINER,
            size=size_kib,
            python=f"python3 (>= {PYTHON}~), python3 (<< {NEXT_PYTHON}~)",
        )
    )
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
    target = out / f"{NAME}_{VERSION}_{_architecture()}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--threads-max=1", "--build", str(root), str(target)]
    environ = os.environ | {"SOURCE_DATE_EPOCH": str(epoch_s)}
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    return target


def _architecture() -> str:
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


def _zipped(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def main() -> None:
    """Build, and print where the package lies."""
    parser = argparse.ArgumentParser(prog="build-deb", description=f"Build a package for Debian's {SUITE}.")
    parser.add_argument("--find-links", action="append", default=[], metavar="DIR", help="wheels, instead of an index")
    parser.add_argument("out", nargs="?", type=Path, default=project.CHECKOUT / "dist", help="where it goes")
    chosen = parser.parse_args()
    try:
        print(build(chosen.out, [str(Path(folder).absolute()) for folder in chosen.find_links]))
    except (InstallError, OSError, project.pack_extension.RefusedError, subprocess.CalledProcessError) as error:
        sys.exit(f"build-deb: {error}")


main()
