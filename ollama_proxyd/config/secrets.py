"""Reads tokens, keys and certificates: from the environment or files of their own, never from the configuration."""

import re
import ssl
import stat
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ollama_proxyd.config.problems import Origin, Problem
from ollama_proxyd.edges.plumbing.way import trusting

MAX_BYTES: Final = 4096
_SENDABLE: Final = re.compile(r"[!-~]+")


@dataclass(slots=True)
class Secrets:
    """Finds secrets and collects what is wrong with them; `folder` is where the configuration file lies."""

    environ: Mapping[str, str]
    folder: Path
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def from_environment(self, name: str, origin: Origin, key: str) -> str | None:
        """The secret in a variable; None, with a problem noted, where there is none that can be sent."""
        value = self.environ.get(name, "")
        if not value:
            self._wrong(origin, key, f"the environment variable {name} is not set")
            return None
        return self._sendable(value, f"the environment variable {name}", origin, key)

    def from_file(self, written: str, origin: Origin, key: str) -> str | None:
        """The secret in a file, without what editors put around it; None, with a problem noted, where there is none."""
        path = self._path(written)
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                self._wrong(origin, key, f"{path} is not a file")
                return None
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            self._wrong(origin, key, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")
            return None
        if stat.S_IMODE(status.st_mode) & 0o077:
            self.warnings.append(Problem(origin, key, f"others may read {path}; run: chmod 600 {path}"))
        return self._sendable(content.removeprefix(BOM_UTF8).decode("latin-1").strip(" \t\r\n"), str(path), origin, key)

    def authorities(self, written: str, origin: Origin, key: str) -> str:
        """The whole path of a PEM file of certificate authorities; a problem is noted where it holds none."""
        path = self._path(written).absolute()
        try:
            if path.exists() and not path.is_file():
                self._wrong(origin, key, f"{path} is not a file")
            else:
                trusting(str(path))
        except OSError as error:  # SSLError included
            self._wrong(origin, key, f"{path} cannot be used: {_why(error)}")
        return str(path)

    def _path(self, written: str) -> Path:
        if written.startswith("~/"):
            return Path(self.environ.get("HOME", "/"), written[2:])
        return self.folder / written

    def _sendable(self, value: str, where: str, origin: Origin, key: str) -> str | None:
        if len(value) <= MAX_BYTES and _SENDABLE.fullmatch(value):
            return value
        self._wrong(origin, key, f"{where} does not hold one word of printable ASCII characters")
        return None

    def _wrong(self, origin: Origin, key: str, message: str) -> None:
        self.errors.append(Problem(origin, key, message))


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it holds no certificate in PEM form"
    return error.strerror or str(error)
