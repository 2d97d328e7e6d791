"""The folder of models: what counts as one, and why other files do not."""

import errno
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.core.engine_files import Shelf
from ollama_proxyd.core.engine_program import EngineProgram, ProgramKind
from ollama_proxyd.edges.engines import model_files
from ollama_proxyd.edges.engines.model_files import ModelFolders
from ollama_proxyd.edges.engines.on_disk import MOST_UNUSABLE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(path: Path, size: int = 200, files: int = 1) -> Path:
    """A model without weights, of a size."""
    keys = {"general.architecture": struct.pack("<I", 8) + text("llama"), "split.count": struct.pack("<IH", 2, files)}
    head = struct.pack("<4sIQQ", b"GGUF", 3, 0, len(keys)) + b"".join(text(key) + value for key, value in keys.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head.ljust(size, b"\0"))
    return path


def weights(folder: Path, config: bytes) -> None:
    """A model in Hugging Face's form."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(config)
    (folder / "model.safetensors").write_bytes(b"x")


async def look(folder: Path | str, kind: ProgramKind = ProgramKind.LLAMACPP) -> Shelf:
    return await ModelFolders(str(folder), {}).look(EngineProgram(kind))


async def names(folder: Path, kind: ProgramKind = ProgramKind.LLAMACPP) -> list[str]:
    return [each.name for each in (await look(folder, kind)).files]


async def test_models_are_named_by_their_files(folder: Path) -> None:
    gguf(folder / "TinyLlama-1.1B.Q4_K_M.gguf")
    gguf(folder / "sub" / "b.gguf")
    (folder / "readme.md").write_text("x")
    assert await names(folder) == ["TinyLlama-1.1B.Q4_K_M", "b"]


async def test_the_parts_of_a_model_are_one_of_their_whole_size(folder: Path) -> None:
    for number in (1, 2, 3):
        gguf(folder / f"big-0000{number}-of-00003.gguf", 200 * number, files=3)
    (file,) = (await look(folder)).files
    assert (file.name, file.size_bytes, file.path) == ("big", 1200, str(folder / "big-00001-of-00003.gguf"))


async def test_a_model_of_which_a_part_is_missing_is_named_with_the_part(folder: Path) -> None:
    gguf(folder / "big-00001-of-00002.gguf")
    shelf = await look(folder)
    assert shelf.files == ()
    assert [each.values["detail"] for each in shelf.unusable] == [
        "big-00002-of-00002.gguf cannot be read: No such file or directory"
    ]


async def test_links_are_followed_and_those_to_nowhere_told(folder: Path, tmp_path: Path) -> None:
    (folder / "link.gguf").symlink_to(gguf(tmp_path / "elsewhere.gguf", 277))
    (folder / "dangling.gguf").symlink_to(tmp_path / "nowhere")
    shelf = await look(folder)
    assert [(each.name, each.size_bytes) for each in shelf.files] == [("link", 277)]
    assert [each.values["detail"] for each in shelf.unusable] == [
        "dangling.gguf cannot be read: No such file or directory"
    ]


async def test_what_only_bears_the_name_is_told(folder: Path) -> None:
    (folder / "page.gguf").write_text("<!doctype html>")
    (folder / "empty.gguf").touch()
    (folder / "folder.gguf").mkdir()
    assert [Path(str(each.values["path"])).name for each in (await look(folder)).unusable] == [
        "empty.gguf",
        "page.gguf",
    ]


async def test_a_file_whose_name_no_request_can_have_is_told(folder: Path) -> None:
    for name in (b"bad\xff.gguf", b"new\nline.gguf", b"esc\x1b.gguf"):
        gguf(folder / os.fsdecode(name))
    gguf(folder / "sp ace \u00fc.gguf")
    shelf = await look(folder)
    assert [each.name for each in shelf.files] == ["sp ace \u00fc"]
    assert all("no request can name" in str(each) and str(each).isprintable() for each in shelf.unusable)
    assert len(shelf.unusable) == 3


async def test_a_file_that_has_changed_is_read_again(folder: Path) -> None:
    gguf(folder / "a.gguf")
    assert (await look(folder)).unusable == ()
    (folder / "a.gguf").write_bytes(b"GGUF\3\0\0\0")
    (one,) = (await look(folder)).unusable
    assert one.values["detail"] == f"it is cut short, in {folder}/a.gguf"


async def test_two_of_one_name_are_told_and_the_first_counts(folder: Path) -> None:
    gguf(folder / "a" / "x.gguf")
    gguf(folder / "b" / "x.gguf")
    shelf = await look(folder)
    assert [each.path for each in shelf.files] == [str(folder / "a" / "x.gguf")]
    assert [each.values["detail"] for each in shelf.unusable] == [f"{folder}/a/x.gguf has the same name"]


async def test_projectors_belong_to_other_models(folder: Path) -> None:
    gguf(folder / "mmproj-model-f16.gguf")
    gguf(folder / "llava-mmproj.gguf")
    assert await look(folder) == Shelf()


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    (one,) = (await look(tmp_path / "gone")).unusable
    assert (one.code, one.values["detail"]) == ("models_folder_unreadable", "No such file or directory")


async def test_a_folder_below_that_cannot_be_read_is_told_and_costs_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir, closed = os.scandir, folder / "closed"
    closed.mkdir()
    gguf(folder / "open.gguf")

    def refusing(path: str) -> Any:
        if path == str(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    shelf = await look(folder)
    assert [(each.code, each.values["path"]) for each in shelf.unusable] == [("models_folder_unreadable", str(closed))]
    assert [each.name for each in shelf.files] == ["open"]


async def test_a_loop_of_links_and_a_deep_tree_end(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    gguf(folder / "1" / "2" / "3" / "deep.gguf")
    gguf(folder / "1" / "2" / "3" / "4" / "deeper.gguf")
    assert await names(folder) == ["deep"]


async def test_no_more_than_so_many_names_are_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        gguf(folder / f"{number}" / "m.gguf")
    monkeypatch.setattr(model_files, "MOST_ENTRIES", 12)
    assert len((await look(folder)).files) + len((await look(folder)).unusable) < 9


async def test_a_folder_of_broken_files_is_told_in_a_few(folder: Path) -> None:
    for number in range(MOST_UNUSABLE + 5):
        (folder / f"{number}.gguf").touch()
    assert len((await look(folder)).unusable) == MOST_UNUSABLE


async def test_folders_of_weights_are_models_for_other_programs(folder: Path) -> None:
    model = folder / "org" / "Qwen3-0.6B"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"x" * 50)
    gguf(folder / "not-this.gguf")
    (file,) = (await look(folder, ProgramKind.VLLM)).files
    assert (file.name, file.size_bytes, file.path) == ("Qwen3-0.6B", 50, str(model))


@pytest.mark.parametrize(
    "config", [b"{", b"[]", b"\xff", b"[" * 100_000, b'{"model_type": 1}', b'{"a": "' + b"x" * (2 << 20)]
)
async def test_a_config_that_cannot_be_read_leaves_the_model_to_its_engine(folder: Path, config: bytes) -> None:
    weights(folder, config)
    (file,) = (await look(folder, ProgramKind.VLLM)).files
    assert (file.facts, file.model.family) == (None, None)


async def test_a_config_tells_the_kind_and_the_context_of_its_model(folder: Path) -> None:
    weights(folder, b'{"model_type": "llama", "max_position_embeddings": 4096, "dtype": "float16"}')
    (file,) = (await look(folder, ProgramKind.VLLM)).files
    model = file.model
    assert (model.family, model.context_length, model.quantization) == ("llama", 4096, "float16")


async def test_a_folder_behind_a_link_is_told_by_its_own_path(folder: Path, tmp_path: Path) -> None:
    model = folder / "tiny"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"x")
    link = tmp_path / "link"
    link.symlink_to(folder)
    (file,) = (await look(link, ProgramKind.MLX)).files
    assert file.path == str(model.resolve())
