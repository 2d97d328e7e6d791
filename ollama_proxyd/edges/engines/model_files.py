"""Looks for models in folders: GGUF files with their parts, folders with a config.json, and Ollama's store."""

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from ollama_proxyd.core.engine_files import ModelFile, Shelf
from ollama_proxyd.core.engine_program import EngineProgram, Form
from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.folder_facts import facts_of_config
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.text import printable
from ollama_proxyd.edges.engines.ollama_store import shelf_of
from ollama_proxyd.edges.engines.on_disk import MOST_UNUSABLE, described, facts_of, state_of, time_of, unusable
from ollama_proxyd.edges.plumbing.gguf import GgufError

DEEPEST: Final = 3
MOST_ENTRIES: Final = 10_000
"""So many names in a folder with its subfolders are looked at."""
MOST_CONFIG_BYTES: Final = 1 << 20
_PART: Final = re.compile(r"^(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")
_PROJECTOR: Final = re.compile(r"(^|[-_.])mmproj([-_.]|$)", re.IGNORECASE)
"""A part of a model that sees, which is no model by itself."""
_WEIGHTS: Final = (".safetensors", ".bin")
_UNSPEAKABLE: Final = (
    "its path has what cannot be printed, such as bytes that are no UTF-8, so that no request can name it"
)


class ModelFolders:
    """The models below folders, by the names of their files."""

    def __init__(self, folder: str | None, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self._environ = environ

    async def look(self, program: EngineProgram) -> Shelf:
        """What is there now."""
        form = program.facts.form
        if form is Form.MANIFEST:
            return await asyncio.to_thread(shelf_of, self._store(program))
        folder = program.models_dir or self.folder
        return Shelf() if folder is None else await asyncio.to_thread(_shelf, Path(folder), form)

    def _store(self, program: EngineProgram) -> Path | None:
        """Where Ollama itself would look; None for its own default."""
        said = program.models_dir or program.variable(_STORE) or self._environ.get(_STORE)
        return Path(said).expanduser() if said else None


_STORE: Final = "OLLAMA_MODELS"


def _shelf(root: Path, form: Form) -> Shelf:
    found: dict[str, ModelFile] = {}
    others: list[Reason] = []
    for path in _candidates(root.expanduser(), form, others):
        one = unusable(path, _UNSPEAKABLE) if not str(path).isprintable() else _read(path, form)
        if isinstance(one, Reason):
            others.append(one)
        elif one is not None and one.name in found:
            others.append(unusable(path, f"{found[one.name].path} has the same name"))
        elif one is not None:
            found[one.name] = one
    return Shelf(tuple(found.values()), tuple(others[:MOST_UNUSABLE]))


def _read(path: Path, form: Form) -> ModelFile | Reason | None:
    return _gguf(path) if form is Form.GGUF else _folder(path)


def _candidates(root: Path, form: Form, others: list[Reason]) -> Iterator[Path]:
    """Paths that look like models, in their order; folders that cannot be read join the others."""

    def note(error: OSError) -> None:
        path, why = printable(str(error.filename)), printable(error.strerror or "")
        others.append(Reason("models_folder_unreadable", path=path, detail=why))

    left = MOST_ENTRIES
    for folder, folders, files in os.walk(root, onerror=note):
        here = Path(folder)
        folders[:] = sorted(folders) if len(here.relative_to(root).parts) < DEEPEST else []
        left -= len(folders) + len(files)
        if left < 0:
            return
        if form is Form.GGUF:
            yield from (here / name for name in sorted(files) if name.endswith(".gguf"))
        elif "config.json" in files and any(name.endswith((".xml", *_WEIGHTS)) for name in files):
            yield here


def _gguf(path: Path) -> ModelFile | Reason | None:
    """A model in one file or the first of several; None for what belongs to another file."""
    part = _PART.match(path.stem)
    if _PROJECTOR.search(path.stem) or (part is not None and int(part["number"]) != 1):
        return None
    parts = [path] if part is None else _parts(path, part)
    try:
        states = [each.stat() for each in parts]
    except OSError as error:
        return unusable(path, f"{Path(str(error.filename)).name} cannot be read: {error.strerror}")
    try:
        facts = facts_of(path, tuple(state_of(each) for each in states))
    except GgufError as error:
        return unusable(path, str(error))
    name, size_bytes = path.stem if part is None else part["name"], sum(each.st_size for each in states)
    model = described(Model(name, size_bytes, modified_at=time_of(states[0].st_mtime)), facts)
    return ModelFile(model, str(path), facts)


def _parts(path: Path, part: re.Match[str]) -> list[Path]:
    count = int(part["count"])
    return [path.with_name(f"{part['name']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]


def _folder(path: Path) -> ModelFile | Reason:
    try:
        weights = [each for each in path.iterdir() if each.suffix in {*_WEIGHTS, ".xml"}]
        size = sum(each.stat().st_size for each in weights)
        changed_s = path.stat().st_mtime
        real = path.resolve()  # mlx_lm.server takes one model by two paths for two, and loads it twice
    except OSError as error:
        return unusable(path, f"it cannot be read: {error.strerror}")
    facts = facts_of_config(_config(real), size)
    model = Model(path.name, size, modified_at=time_of(changed_s), format="safetensors")
    if facts is not None:
        model = replace(
            model,
            family=facts.architecture,
            quantization=facts.quantization,
            context_length=facts.context_length,
            embedding_length=facts.embedding_length,
        )
    return ModelFile(model, str(real), facts)


def _config(folder: Path) -> Mapping[str, object]:
    """What its config.json says; nothing where it cannot be read, which its engine tells."""
    try:
        with (folder / "config.json").open("rb") as opened:
            said = msgspec.json.decode(opened.read(MOST_CONFIG_BYTES))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
