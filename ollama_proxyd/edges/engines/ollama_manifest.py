"""A manifest of Ollama's store, and the files that it names (manifest/manifest.go of Ollama)."""

import hashlib
import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ollama_proxyd.dialects.framing.jsonbody import UNREADABLE
from ollama_proxyd.edges.engines.on_disk import MOST_KNOWN, State, state_of

MOST_BYTES: Final = 4 << 20
"""One of safetensors has a layer for each tensor."""
MOST_BLOBS: Final = 50_000
"""So many files are looked at in all."""
_DIGEST: Final = re.compile(r"sha256[:-]([0-9a-fA-F]{64})", re.ASCII)
_RUNNERS: Final = ("", "ollama", "llamacpp", "mlx")
"""Of a list of manifests Ollama takes the first that it finds in this order."""


class Layer(msgspec.Struct, rename="camel", frozen=True):
    """A file of a model."""

    media_type: str = ""
    digest: str = ""
    size: int = 0


class Manifest(msgspec.Struct, rename="camel", frozen=True):
    """The files of a model, or the same model for several runners."""

    layers: list[Layer] | None = None
    config: Layer | None = None
    manifests: list["Manifest"] | None = None
    runner: str = ""
    digest: str = ""


class Remote(msgspec.Struct, frozen=True):
    """What the configuration of a model says of where it runs; empty: here."""

    remote_host: str = ""


class Written(NamedTuple):
    """A manifest as it was read, and the digest by which Ollama lists its model."""

    manifest: Manifest
    digest: str = ""
    trouble: str = ""
    """Why it cannot be read."""


class UnusableError(Exception):
    """Why a manifest stands for no model, in a sentence."""


class Blobs:
    """The files of layers, of which one look may see so many."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._left = MOST_BLOBS

    def path(self, digest: str) -> Path:
        """Where the file of a digest is; nothing else is a path."""
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise UnusableError("a layer of it has no digest by SHA-256")
        return self.root / "blobs" / f"sha256-{match[1].lower()}"

    def look(self, layer: Layer) -> tuple[Path, os.stat_result]:
        """A layer's file, which must be whole; raises UnusableError."""
        self._left -= 1
        if self._left < 0:
            raise UnusableError(f"its store has more than {MOST_BLOBS} files")
        path = self.path(layer.digest)
        try:
            state = path.stat()
        except FileNotFoundError:
            raise UnusableError(f"its file {path.name} is missing; pull it again") from None
        except OSError as error:
            raise UnusableError(f"its file {path.name} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(state.st_mode):
            raise UnusableError(f"its file {path.name} is no file")
        if state.st_size < layer.size:
            raise UnusableError(f"its file {path.name} has {state.st_size} of {layer.size} bytes; pull it again")
        return path, state


def written_in(path: Path) -> tuple[Written, os.stat_result]:
    """What a manifest says, and its file; raises UnusableError."""
    try:
        state = path.stat()
    except OSError as error:
        raise UnusableError(f"it cannot be read: {error.strerror}") from error
    written = _read(path, state_of(state))
    if written.trouble:
        raise UnusableError(written.trouble)
    return written, state


def chosen(manifest: Manifest, blobs: Blobs) -> Manifest:
    """The one that Ollama would run; raises UnusableError."""
    if not manifest.manifests:
        return manifest
    able = [each for each in manifest.manifests if each.runner.lower() in _RUNNERS]
    if not able:
        raise UnusableError("it is for no runner that Linux has")
    first = min(able, key=lambda each: _RUNNERS.index(each.runner.lower()))
    if not first.layers and first.digest:
        return written_in(blobs.path(first.digest))[0].manifest
    return first


def is_elsewhere(manifest: Manifest, blobs: Blobs) -> bool:
    """Whether a model runs on another machine, such as in Ollama's cloud; raises UnusableError."""
    if manifest.config is None or not manifest.config.digest:
        return False
    path, state = blobs.look(manifest.config)
    if state.st_size > MOST_BYTES:
        return False
    try:
        return bool(msgspec.json.decode(path.read_bytes(), type=Remote).remote_host)
    except (OSError, *UNREADABLE):
        return False


@lru_cache(maxsize=MOST_KNOWN)
def _read(path: Path, _state: State) -> Written:
    """What it says, read again once it has changed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            is_file = stat.S_ISREG(os.fstat(handle).st_mode)
            data = file.read(MOST_BYTES + 1) if is_file else b""
    except OSError as error:
        return Written(Manifest(), trouble=f"it cannot be read: {error.strerror}")
    if len(data) > MOST_BYTES:
        return Written(Manifest(), trouble=f"it has more than {MOST_BYTES >> 20} MiB, which no manifest has")
    try:
        return Written(msgspec.json.decode(data, type=Manifest), hashlib.sha256(data).hexdigest())
    except UNREADABLE:
        return Written(Manifest(), trouble="it is no manifest of Ollama's store")
