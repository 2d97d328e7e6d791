"""Gets what the suite needs: its two C programs, an nginx, and LiteLLM in an environment of its own."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.processes import BenchError

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
INSTALL_LIMIT_S = 900


def _run(argv: Sequence[str], folder: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def build(name: str) -> str:
    """Compiles bench/NAME.c when it has changed; the path of the program."""
    source, program = ROOT / "bench" / f"{name}.c", CACHE / name
    newest = max(path.stat().st_mtime for path in (source, ROOT / "bench" / "common.h"))
    if not program.exists() or program.stat().st_mtime < newest:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise BenchError("a C compiler (cc, gcc or clang) is needed")
        _run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)])
    return str(program)


def nginx() -> str:
    """The host's nginx, or one unpacked from Debian's package: nothing is installed, no service is touched."""
    unpacked = CACHE / "nginx"
    program = unpacked / "usr" / "sbin" / "nginx"
    found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/sbin")
    if found is not None:
        return found
    if not program.exists():
        if shutil.which("apt-get") is None:
            raise BenchError("nginx is needed: install it, or leave it out with --without nginx")
        package = CACHE / "nginx-package"
        package.mkdir(exist_ok=True)
        _run(["apt-get", "download", "nginx"], package)
        _run(["dpkg", "-x", str(next(package.glob("nginx_*.deb"))), str(unpacked)])
    return str(program)


def litellm() -> str:
    """LiteLLM's proxy, installed once into a virtual environment of its own."""
    home = ROOT / ".cache" / "bench-litellm"
    program = home / "bin" / "litellm"
    if not program.exists():
        print("installing LiteLLM's proxy into", home.relative_to(ROOT), flush=True)
        _run([sys.executable, "-m", "venv", str(home)])
        _run([str(home / "bin" / "pip"), "install", "--quiet", "litellm[proxy]"])
    return str(program)


def version_of(argv: Sequence[str]) -> str:
    """The last word of what a program says about its version."""
    return _run(argv).strip().split()[-1]
