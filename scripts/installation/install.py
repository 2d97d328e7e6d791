"""`scripts/install` and `scripts/uninstall`: an environment beside the old one, and its own `install-service`."""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import project

from ollama_proxyd.cli.install.files import InstallError, load
from ollama_proxyd.cli.install.folders import Folders, of_user
from ollama_proxyd.cli.install.installer import remove_unused, uninstall
from ollama_proxyd.cli.install.machine import Machine

SHEBANG_BYTES = 120
"""Linux cuts a longer first line (execve(2))."""


def arguments(what: str) -> argparse.ArgumentParser:
    """The options of both scripts."""
    parser = argparse.ArgumentParser(prog=what, description=f"{what} ollama-proxyd for this user; no root is needed.")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="in ~/.local and the XDG folders; this is the default")
    where.add_argument("--prefix", type=Path, metavar="DIR", help="programs in DIR/bin, all else in DIR/share")
    if what == "install":
        parser.add_argument("--no-extension", action="store_true", help="leave the GNOME extension out")
        parser.add_argument("--no-index", action="store_true", help="fetch nothing from a package index")
        parser.add_argument("--find-links", action="append", default=[], metavar="DIR", help="take wheels from DIR")
    else:
        parser.add_argument("--purge", action="store_true", help="the configuration and what was learned too")
    return parser


def install(folders: Folders, chosen: argparse.Namespace) -> None:
    """Make an environment, and have its program do the rest; does not return."""
    manifest = load(folders.app)
    env = folders.environments / time.strftime("%Y%m%d-%H%M%S")
    manifest.make_folder(env.parent)
    manifest.save()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        make(env, ["--no-index"] * chosen.no_index + [f"--find-links={Path(p).absolute()}" for p in chosen.find_links])
        left_out = why_no_extension(chosen)
        if left_out is None:
            project.put_extension(env / "share")
    except BaseException:
        remove_unused(folders, manifest)
        raise
    print(f"installed in {env}")
    if left_out is not None:
        print(f"left out: the GNOME extension: {left_out}")
    elif shutil.which("msgfmt") is None:
        print("left out: the translations of the GNOME extension: msgfmt is missing (package gettext)")
    sys.stdout.flush()
    os.execv(env / "bin/ollama-proxyctl", ["ollama-proxyctl", "install-service"])


def make(env: Path, pip_options: list[str]) -> None:
    """Make the environment: the libraries of the lock, and this checkout's package."""
    print(f"making the environment {env} ...", file=sys.stderr)
    python = env / "bin/python"
    run([sys.executable, "-m", "venv", env], "on Debian and Ubuntu: sudo apt install python3-venv")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "install"]
    run([*pip, *pip_options, *project.STRICT], "without a network: --no-index --find-links DIR, with the wheels in DIR")
    site_packages = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    project.put_package(site_packages)
    project.put_shared(env)
    project.put_programs(env / "bin", first_line(python))
    # The service may not write here, so this is the only time.
    run([python, "-m", "compileall", "-q", site_packages / "ollama_proxyd"])
    run([env / "bin/ollama-proxyd", "--version"], f"the daemon that was installed in {env} does not run")


def first_line(python: Path) -> str:
    """The first line of a program; a shell takes paths that Linux cannot."""
    line = f"#!{python} -P"
    if " " not in str(python) and len(line.encode()) <= SHEBANG_BYTES:
        return line
    return f"#!/bin/sh\n'''exec' {shlex.quote(str(python))} -P \"$0\" \"$@\"\n' '''"


def why_no_extension(chosen: argparse.Namespace) -> str | None:
    """None where the GNOME extension is of use and can be made."""
    if chosen.no_extension:
        return "--no-extension was given"
    no_compiler = "glib-compile-schemas is missing, which compiles its settings (package libglib2.0-bin)"
    return Machine(os.environ).lacks("GNOME Shell") or (None if shutil.which("glib-compile-schemas") else no_compiler)


def run(command: list[str | Path], advice: str = "") -> str:
    """Run something that has to succeed; returns what it prints."""
    plain = os.environ | {"PATH": "/usr/bin:/bin"}  # pip looks for a Rust compiler, which may leave files in HOME
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=plain)
    if done.returncode != 0:
        raise InstallError("\n".join([" ".join(map(str, command)), (done.stderr or done.stdout).strip(), advice]))
    return done.stdout


def main(what: str, words: list[str]) -> None:
    """Do it; exits with the reason where it cannot be done."""
    chosen = arguments(what).parse_args(words)
    try:
        folders = of_user(os.environ, chosen.prefix and chosen.prefix.absolute())
        if what == "install":
            install(folders, chosen)
        print(*uninstall(folders, load(folders.app), Machine(os.environ), purge=chosen.purge), sep="\n")
    except (InstallError, OSError, project.pack_extension.RefusedError, subprocess.CalledProcessError) as error:
        sys.exit(f"{what}: {error}")


main(sys.argv[1], sys.argv[2:])
