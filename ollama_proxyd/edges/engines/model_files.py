"""Looks for models in folders: GGUF files with their parts, and folders with a config.json."""

import asyncio
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from ollama_proxyd.core.counts import human_count
from ollama_proxyd.core.engine_files import ModelFile, Shelf
from ollama_proxyd.core.engine_program import EngineProgram, Form
from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.gguf import GgufFacts
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.text import printable
from ollama_proxyd.edges.plumbing.gguf import GgufError, read_gguf

DEEPEST: Final = 3
MOST_ENTRIES: Final = 10_000
"""So many names in a folder with its subfolders are looked at."""
MOST_KNOWN: Final = 1000
"""The facts of so many files are kept."""
MOST_UNUSABLE: Final = 20
"""So many of those that cannot be used are told."""
_PART: Final = re.compile(r"^(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")
_PROJECTOR: Final = re.compile(r"(^|[-_.])mmproj([-_.]|$)", re.IGNORECASE)
"""A part of a model that sees, which is no model by itself."""
_WEIGHTS: Final = (".safetensors", ".bin")
_UNSPEAKABLE: Final = (
    "its path has what cannot be printed, such as bytes that are no UTF-8, so that no request can name it"
)


class ModelFolders:
    """The models below folders, by the names of their files."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder

    async def look(self, program: EngineProgram) -> Shelf:
        """What is there now."""
        folder = program.models_dir or self.folder
        if folder is None:
            return Shelf()
        form = _GGUF if program.facts.form is Form.GGUF else _FOLDER
        return await asyncio.to_thread(_shelf, Path(folder), form)


_GGUF, _FOLDER = "gguf", "folder"


def _shelf(root: Path, form: str) -> Shelf:
    found: dict[str, ModelFile] = {}
    unusable: list[Reason] = []
    for path in _candidates(root.expanduser(), form, unusable):
        one = _unusable(path, _UNSPEAKABLE) if not str(path).isprintable() else _read(path, form)
        if isinstance(one, Reason):
            unusable.append(one)
        elif one is not None and one.name in found:
            unusable.append(_unusable(path, f"{found[one.name].path} has the same name"))
        elif one is not None:
            found[one.name] = one
    return Shelf(tuple(found.values()), tuple(unusable[:MOST_UNUSABLE]))


def _read(path: Path, form: str) -> ModelFile | Reason | None:
    return _gguf(path) if form == _GGUF else _folder(path)


def _unusable(path: Path, why: str) -> Reason:
    return Reason("model_unusable", path=printable(str(path)), detail=printable(why))


def _candidates(root: Path, form: str, unusable: list[Reason]) -> Iterator[Path]:
    """Paths that look like models, in their order; folders that cannot be read join the unusable."""

    def note(error: OSError) -> None:
        path, why = printable(str(error.filename)), printable(error.strerror or "")
        unusable.append(Reason("models_folder_unreadable", path=path, detail=why))

    left = MOST_ENTRIES
    for folder, folders, files in os.walk(root, onerror=note):
        here = Path(folder)
        folders[:] = sorted(folders) if len(here.relative_to(root).parts) < DEEPEST else []
        left -= len(folders) + len(files)
        if left < 0:
            return
        if form == _GGUF:
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
        return _unusable(path, f"{Path(str(error.filename)).name} cannot be read: {error.strerror}")
    try:
        facts = _facts(path, tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in states))
    except GgufError as error:
        return _unusable(path, str(error))
    model = Model(
        path.stem if part is None else part["name"],
        sum(each.st_size for each in states),
        modified_at=_time(states[0].st_mtime),
        family=facts.architecture,
        parameter_size=human_count(facts.parameters),
        quantization=facts.quantization,
        format="gguf",
        context_length=facts.context_length,
        embedding_length=facts.embedding_length,
    )
    return ModelFile(model, str(path), facts)


@lru_cache(maxsize=MOST_KNOWN)
def _facts(path: Path, _states: tuple[tuple[int, int, int], ...]) -> GgufFacts:
    """What a file says, read again once it has changed."""
    return read_gguf(path)


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
        return _unusable(path, f"it cannot be read: {error.strerror}")
    return ModelFile(Model(path.name, size, modified_at=_time(changed_s), format="safetensors"), str(real))


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
