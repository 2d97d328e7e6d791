"""`scripts/install` and `scripts/uninstall`: put this checkout's program in place for one user, and take it away."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pack_extension

from installation import environment, extension, project
from ollama_proxyd.cli.install import parts, surroundings
from ollama_proxyd.cli.install.failures import InstallError
from ollama_proxyd.cli.install.folders import Folders, of_user
from ollama_proxyd.cli.install.installer import Wanted, install
from ollama_proxyd.cli.install.manifest import Manifest, load
from ollama_proxyd.cli.install.part import Part
from ollama_proxyd.cli.install.removing import remove
from ollama_proxyd.cli.install.report import Report
from ollama_proxyd.cli.install.templates import Site, site
from ollama_proxyd.cli.install.uninstaller import EXTENSION, uninstall

ASK = (
    "import os; from ollama_proxyd.config.load import load; server = load(None, os.environ).server; "
    "print(server.port, server.host)"
)


def arguments_of_install() -> argparse.ArgumentParser:
    """What scripts/install takes."""
    parser = argparse.ArgumentParser(
        prog="install", description="Install ollama-proxyd for this user; no root is needed."
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="into ~/.local and the XDG folders; this is the default")
    where.add_argument("--prefix", type=Path, metavar="DIR", help="programs into DIR/bin, all else into DIR/share")
    parser.add_argument("--no-extension", action="store_true", help="leave the GNOME extension out")
    parser.add_argument("--no-index", action="store_true", help="fetch nothing from a package index")
    parser.add_argument("--find-links", action="append", default=[], metavar="DIR", help="take wheels from DIR")
    return parser


def arguments_of_uninstall() -> argparse.ArgumentParser:
    """What scripts/uninstall takes."""
    parser = argparse.ArgumentParser(prog="uninstall", description="Remove what scripts/install has put in place.")
    parser.add_argument("--prefix", type=Path, metavar="DIR", help="as it was given to scripts/install")
    parser.add_argument("--purge", action="store_true", help="the configuration and what was learned too")
    return parser


def run_install(chosen: argparse.Namespace) -> Report:
    """Make the environment beside the old one, then put everything in place and swap."""
    folders = folders_of(chosen.prefix)
    manifest = load(folders.app)
    old_trees = list(manifest.trees)
    env = folders.app / "environments" / environment.name()
    is_new = not environment.is_whole(env)
    if is_new:
        make(env, manifest, chosen)
    try:
        report = install(wanted(folders, env, chosen), manifest)
    except InstallError:
        if is_new:
            forget(manifest, [str(env)])
        raise
    forget(manifest, [tree for tree in old_trees if tree != str(env)])
    words = "installed" if is_new else "it was installed already:"
    report.done.insert(0, f"{words} ollama-proxyd {project.version()} in {report.shown(folders.app)}")
    return report


def make(env: Path, manifest: Manifest, chosen: argparse.Namespace) -> None:
    """Make the environment; the manifest knows of it first."""
    print(f"making the environment {env} ...", file=sys.stderr)
    manifest.make_folder(env.parent)
    manifest.trees = [*[tree for tree in manifest.trees if tree != str(env)], str(env)]
    manifest.save()
    links = [word for folder in chosen.find_links for word in ("--find-links", str(Path(folder).absolute()))]
    try:
        environment.make(env, [*(["--no-index"] if chosen.no_index else []), *links])
    except BaseException:
        forget(manifest, [str(env)])
        raise


def forget(manifest: Manifest, trees: list[str]) -> None:
    """Remove environments that are not used any more."""
    for tree in trees:
        shutil.rmtree(tree, ignore_errors=True)
    manifest.trees = [tree for tree in manifest.trees if tree not in trees]
    if manifest.files or manifest.trees:
        manifest.save()
    else:
        remove(manifest)  # a first installation that failed: not even the list stays


def wanted(folders: Folders, env: Path, chosen: argparse.Namespace) -> Wanted:
    """Everything that belongs in place, with the link that makes this environment the one in use."""
    link = folders.app / "venv"
    own = [
        Part(link, link_to=f"environments/{env.name}"),
        *parts.commands(folders, link / "bin", sorted(project.programs())),
        *parts.shared(folders, env / "share"),
    ]
    left_out: list[str] = []
    no_gnome = "--no-extension was given" if chosen.no_extension else surroundings.why_no_gnome(os.environ)
    if no_gnome is None:
        found, left_out = extension.parts(folders.extensions)
        own += found
    else:
        left_out.append(f"the GNOME extension: {no_gnome}")
    return Wanted(folders, configured_site(env, link / "bin"), os.environ, own, left_out, is_searched(chosen.prefix))


def configured_site(env: Path, programs: Path) -> Site:
    """Where the daemon is to listen, asked of the environment that can read the configuration."""
    asked = [str(env / "bin" / "python"), "-P", "-c", ASK]
    done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return Site(programs)
    port, _, host = done.stdout.strip().partition(" ")
    return site(programs, host, int(port))


def folders_of(prefix: Path | None) -> Folders:
    """Where things go."""
    return of_user(os.environ, None if prefix is None else prefix.absolute())


def is_searched(prefix: Path | None) -> bool:
    """Whether this session looks for units and the rest there."""
    return prefix is None or folders_of(prefix).data == folders_of(None).data


def next_steps(report: Report, extensions: Path) -> None:
    """What only this kind of installation has to say."""
    if (extensions / EXTENSION / "metadata.json").exists():
        report.next.append(f"log out and in, then: gnome-extensions enable {EXTENSION}")


def main(what: str, words: list[str]) -> int:
    """Do it and say what was done; 1 with the reason where it could not be."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if what == "install":
            chosen = arguments_of_install().parse_args(words)
            report = run_install(chosen)
            next_steps(report, folders_of(chosen.prefix).extensions)
        else:
            chosen = arguments_of_uninstall().parse_args(words)
            folders = folders_of(chosen.prefix)
            report = uninstall(folders, load(folders.app), os.environ, purge=chosen.purge)
    except (InstallError, OSError, pack_extension.RefusedError, subprocess.CalledProcessError) as error:
        print(f"{what}: {error}", file=sys.stderr)
        return 1
    print(report.text())
    return 0
