"""Ollama's store of models: manifests by registry, namespace, model and tag, and the blobs that they name.

The layout: manifest/paths.go and manifest/manifest.go of Ollama; names: types/model/name.go.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from ollama_proxyd.core.engine_files import ModelFile, Shelf
from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.gguf import GgufFacts
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.text import printable
from ollama_proxyd.edges.engines.ollama_manifest import Blobs, UnusableError, chosen, is_elsewhere, written_in
from ollama_proxyd.edges.engines.on_disk import MOST_UNUSABLE, described, facts_of, state_of, time_of, unusable
from ollama_proxyd.edges.plumbing.gguf import GgufError

SERVICE: Final = Path("/usr/share/ollama/.ollama/models")
"""The store of the system's own service, as Ollama's installer makes it."""
TREES: Final = ("manifests-v2", "manifests")
"""A name in the first hides the same one in the second."""
MOST_MANIFESTS: Final = 5000
_PARTS: Final = (
    re.compile(r"\w[\w.:-]{0,349}", re.ASCII),
    re.compile(r"\w[\w-]{0,79}", re.ASCII),
    re.compile(r"\w[\w.-]{0,79}", re.ASCII),
    re.compile(r"\w[\w.-]{0,79}", re.ASCII),
)
"""What the registry, the namespace, the model and the tag of a name may be."""
_USUAL_HOSTS: Final = frozenset({"registry.ollama.ai", "ollama.com"})
_IMAGE: Final = "application/vnd.ollama.image."
_MODEL: Final = f"{_IMAGE}model"
_WEIGHTS: Final = frozenset({_MODEL, f"{_IMAGE}tensor"})
_BESIDE: Final = frozenset({f"{_IMAGE}adapter", f"{_IMAGE}projector"})
Parts: TypeAlias = tuple[str, ...]
"""Of a name: its registry, its namespace, its model and its tag, as far as they are known."""


def shelf_of(store: Path | None) -> Shelf:
    """The models of a store; None: of Ollama's own default for this user."""
    root = store or Path("~/.ollama/models").expanduser()
    found: dict[str, ModelFile | None] = {}
    walk = _Walk(root, is_default=store is None)
    blobs, others = Blobs(root), walk.unreadable
    for path, parts in walk.manifests():
        name = _shortest(parts)
        if name.lower() in found:
            continue
        try:
            found[name.lower()] = _model(path, name, blobs)
        except UnusableError as error:
            found[name.lower()] = None  # one that cannot be read hides another of its name, as for Ollama
            others.append(unusable(path, str(error)))
    if store is None and not found and not others:
        others += _elsewhere(root)
    return Shelf(tuple(filter(None, found.values())), tuple(others[:MOST_UNUSABLE]), str(root))


def _elsewhere(root: Path) -> Iterator[Reason]:
    """Where the models are of which this user has none, as far as that can be seen."""
    try:
        has_service = SERVICE.is_dir()
    except OSError:
        has_service = True  # what may not be looked at is there
    if has_service:
        yield Reason("models_elsewhere", path=printable(str(root)), service=str(SERVICE))


class _Walk:
    """A walk through the manifests, which ends after so many names."""

    def __init__(self, root: Path, *, is_default: bool) -> None:
        self._root = root
        self._is_default = is_default
        self._left = MOST_MANIFESTS
        self.unreadable: list[Reason] = []

    def manifests(self) -> Iterator[tuple[Path, Parts]]:
        """Those of both trees."""
        for tree in TREES:
            yield from self._below(self._root / tree, ())

    def _below(self, folder: Path, parts: Parts) -> Iterator[tuple[Path, Parts]]:
        """Those of a folder; what no name can have is no manifest, as for Ollama."""
        for name in self._names(folder, is_tree=not parts):
            self._left -= 1
            if self._left < 0:
                return
            here = (*parts, name)
            if not _PARTS[len(parts)].fullmatch(name):
                continue
            if len(here) == len(_PARTS):
                yield folder / name, here
            else:
                yield from self._below(folder / name, here)

    def _names(self, folder: Path, *, is_tree: bool) -> list[str]:
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208 - names alone are wanted
        except NotADirectoryError:
            return []
        except OSError as error:
            is_missing = is_tree and isinstance(error, FileNotFoundError)
            if not is_missing or not (self._is_default or self._root.is_dir()):
                self._note(self._root if is_tree else folder, error)
            return []

    def _note(self, folder: Path, error: OSError) -> None:
        detail = printable(error.strerror or "")
        reason = Reason("models_folder_unreadable", path=printable(str(folder)), detail=detail)
        if reason not in self.unreadable:
            self.unreadable.append(reason)


def _shortest(parts: Parts) -> str:
    """A name as Ollama lists it."""
    host, namespace, model, tag = parts
    if host.lower() not in _USUAL_HOSTS:
        return f"{host}/{namespace}/{model}:{tag}"
    return f"{model}:{tag}" if namespace.lower() == "library" else f"{namespace}/{model}:{tag}"


def _model(path: Path, name: str, blobs: Blobs) -> ModelFile | None:
    """The model of a manifest; None for one that runs elsewhere. Raises UnusableError."""
    written, state = written_in(path)
    manifest = chosen(written.manifest, blobs)
    layers = manifest.layers or []
    weights = [each for each in layers if each.media_type in _WEIGHTS]
    if not weights:
        if is_elsewhere(manifest, blobs):
            return None
        raise UnusableError("it names no weights")
    parts = [blobs.look(each) for each in weights]
    beside_bytes = sum(blobs.look(each)[1].st_size for each in layers if each.media_type in _BESIDE)
    size_bytes = sum(state.st_size for _, state in parts) + beside_bytes
    model = Model(name, size_bytes, digest=written.digest, modified_at=time_of(state.st_mtime), format="safetensors")
    facts = _facts(*parts[-1]) if weights[-1].media_type == _MODEL else None  # the last one counts for Ollama
    if facts is not None:
        model = replace(described(model, facts), capabilities=frozenset({"embedding"}) if facts.is_embedding else None)
    return ModelFile(model, str(path), facts, str(blobs.root), beside_bytes)


def _facts(path: Path, state: os.stat_result) -> GgufFacts:
    try:
        return facts_of(path, (state_of(state),))
    except GgufError as error:
        raise UnusableError(str(error)) from error
