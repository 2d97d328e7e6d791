"""Ollama's store: which manifests are models, by which names, and why others are none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.core.engine_files import ModelFile, Shelf
from ollama_proxyd.core.engine_program import EngineProgram, ProgramKind
from ollama_proxyd.edges.engines import ollama_manifest, ollama_store
from ollama_proxyd.edges.engines.model_files import ModelFolders
from ollama_proxyd.edges.engines.on_disk import MOST_UNUSABLE
from scripts import make_tiny_gguf
from tests.upstreams.ollama_store import IMAGE, add, blob, layer, manifest, place

PROGRAM = EngineProgram(ProgramKind.OLLAMA)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "m.gguf"
    make_tiny_gguf.build(path)
    return path.read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


async def look(store: Path, program: EngineProgram = PROGRAM, **environ: str) -> Shelf:
    return await ModelFolders(None, {"OLLAMA_MODELS": str(store), **environ}).look(program)


async def the_only(store: Path) -> ModelFile:
    shelf = await look(store)
    assert shelf.unusable == ()
    (file,) = shelf.files
    return file


async def why_not(store: Path) -> str:
    shelf = await look(store)
    assert shelf.files == ()
    (why,) = shelf.unusable
    assert why.code == "model_unusable"
    return str(why.values["detail"])


async def test_names_are_those_that_ollama_lists(store: Path, weights: bytes) -> None:
    for name in ("llama3.2:1b", "plain", "someone/theirs:q4", "hf.co/org/Model-GGUF:Q8_0"):
        add(store, name, weights)
    found = [each.name for each in (await look(store)).files]
    assert sorted(found) == ["hf.co/org/Model-GGUF:Q8_0", "llama3.2:1b", "plain:latest", "someone/theirs:q4"]


async def test_a_model_has_the_facts_of_its_weights_and_the_digest_by_which_ollama_lists_it(
    store: Path, weights: bytes
) -> None:
    at = add(store, "m:1b", weights)
    file = await the_only(store)
    assert (file.path, file.folder, file.size_bytes) == (str(at), str(store), len(weights))
    assert file.facts is not None
    model = file.model
    assert (model.format, model.family, model.context_length) == ("gguf", "llama", file.facts.context_length)
    assert model.quantization
    assert blob(store, at.read_bytes()) == f"sha256:{model.digest}"


async def test_what_is_loaded_beside_the_weights_adds_to_a_models_size(store: Path, weights: bytes) -> None:
    layers = [layer(store, weights), layer(store, b"p" * 300, "projector"), layer(store, b"a" * 70, "adapter")]
    place(store, "m").write_text(json.dumps(manifest(*layers, layer(store, b"license" * 99, "license"))))
    file = await the_only(store)
    assert (file.size_bytes, file.beside_bytes) == (len(weights) + 370, 370)


async def test_the_newer_tree_of_links_into_blobs_counts_before_the_older_one(store: Path, weights: bytes) -> None:
    old = add(store, "m", weights)
    digest = blob(store, json.dumps(manifest(layer(store, weights), layer(store, b"a" * 9, "adapter"))).encode())
    new = place(store, "ollama.com/library/m", "manifests-v2")
    new.symlink_to(Path("../../../../blobs", digest.replace(":", "-")))
    file = await the_only(store)
    assert (file.name, file.path, file.beside_bytes) == ("m:latest", str(new), 9)
    new.unlink()
    assert (await the_only(store)).path == str(old)


async def test_of_a_list_of_manifests_the_one_counts_that_ollama_would_run_here(store: Path, weights: bytes) -> None:
    child = json.dumps(manifest(layer(store, weights))).encode()
    tensors = {"runner": "mlx", "layers": [layer(store, b"t", "tensor")]}
    gguf = {"runner": "llamacpp", "digest": blob(store, child)}
    place(store, "m").write_text(json.dumps({"manifests": [tensors, gguf]}))
    assert (await the_only(store)).size_bytes == len(weights)


async def test_a_model_of_tensors_has_no_facts_but_its_size(store: Path) -> None:
    layers = [layer(store, bytes([number]) * 100, "tensor") for number in range(3)]
    place(store, "m").write_text(json.dumps(manifest(*layers)))
    file = await the_only(store)
    assert (file.size_bytes, file.facts, file.model.format) == (300, None, "safetensors")


async def test_a_model_that_only_embeds_is_known_before_it_runs(store: Path, tmp_path: Path, weights: bytes) -> None:
    make_tiny_gguf.build(tmp_path / "e.gguf", make_tiny_gguf.Shape(pooling=1))
    add(store, "embeds", (tmp_path / "e.gguf").read_bytes())
    add(store, "writes", weights)
    able = {each.name: each.model.capabilities for each in (await look(store)).files}
    assert able == {"embeds:latest": frozenset({"embedding"}), "writes:latest": None}


async def test_a_model_of_the_cloud_is_none_here_and_nothing_is_wrong_with_it(store: Path) -> None:
    for number, told in enumerate((b'{"remote_host": "https://ollama.com", "remote_model": "big"}', b"{}", b"{")):
        config = layer(store, told)
        place(store, f"big:cloud{number}").write_text(json.dumps(manifest(config=config, layers=None)))
    shelf = await look(store)
    assert shelf.files == ()
    assert [Path(str(each.values["path"])).name for each in shelf.unusable] == ["cloud1", "cloud2"]
    assert {each.values["detail"] for each in shelf.unusable} == {"it names no weights"}


@pytest.mark.parametrize(
    "text",
    ["", "<!doctype html>", "[1]", '{"layers": 5}', '{"layers": [{"digest": 7}]}', "[" * 200_000, "\x00", '{"a": 1'],
)
async def test_what_is_no_manifest_is_told(store: Path, text: str) -> None:
    place(store, "m").write_text(text)
    assert await why_not(store) == "it is no manifest of Ollama's store"


async def test_a_huge_manifest_is_not_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama_manifest, "MOST_BYTES", 1 << 20)
    place(store, "m").write_text(" " * (2 << 20) + json.dumps(manifest()))
    assert await why_not(store) == "it has more than 1 MiB, which no manifest has"


@pytest.mark.parametrize(
    "digest", ["", "sha256:../../../etc/passwd", "sha256:" + "g" * 64, "md5:" + "0" * 64, "/etc/x"]
)
async def test_a_digest_never_becomes_another_path(store: Path, digest: str) -> None:
    one = {"mediaType": IMAGE + "model", "digest": digest, "size": 1}
    place(store, "m").write_text(json.dumps(manifest(one)))
    assert await why_not(store) == "a layer of it has no digest by SHA-256"


async def test_a_missing_file_and_one_cut_short_are_told_with_what_to_do(store: Path, weights: bytes) -> None:
    add(store, "m", weights)
    (file,) = (store / "blobs").iterdir()
    file.write_bytes(weights[:-100])
    assert await why_not(store) == (
        f"its file {file.name} has {len(weights) - 100} of {len(weights)} bytes; pull it again"
    )
    file.unlink()
    assert await why_not(store) == f"its file {file.name} is missing; pull it again"


async def test_weights_that_are_no_gguf_are_told(store: Path) -> None:
    add(store, "m", b"PK" + bytes(100))
    assert "does not begin with GGUF" in await why_not(store)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [a_pipe, a_loop, nowhere, Path.mkdir])
async def test_what_only_stands_where_a_file_should_is_told_and_waits_for_nothing(
    store: Path, weights: bytes, make: Any
) -> None:
    make(place(store, "m"))
    await why_not(store)
    place(store, "m").rename(store / "away")
    add(store, "m", weights)
    (file,) = (store / "blobs").iterdir()
    file.unlink()
    make(file)
    await why_not(store)


async def test_what_no_name_can_have_is_no_manifest(store: Path, weights: bytes) -> None:
    at = add(store, "m", weights)
    for name in (".hidden", "-x", "a b", "x" * 81):
        (at.parent / name).write_bytes(at.read_bytes())
    (store / "manifests" / "stray").write_text("x")
    at.parent.parent.joinpath("no-folder").write_text("x")
    assert (await the_only(store)).name == "m:latest"


async def test_a_manifest_that_has_changed_is_read_again(store: Path, weights: bytes) -> None:
    at = add(store, "m", weights)
    assert (await the_only(store)).beside_bytes == 0
    at.write_text(json.dumps(manifest(layer(store, weights), layer(store, b"a" * 9, "adapter"))))
    assert (await the_only(store)).beside_bytes == 9


async def test_no_more_than_so_much_is_looked_at(store: Path, weights: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MOST_UNUSABLE + 9):
        add(store, f"m{number}", weights)
    monkeypatch.setattr(ollama_manifest, "MOST_BLOBS", 3)
    shelf = await look(store)
    assert (len(shelf.files), len(shelf.unusable)) == (3, MOST_UNUSABLE)
    monkeypatch.setattr(ollama_store, "MOST_MANIFESTS", 10)
    assert len((await look(store)).unusable) < 9


async def test_a_folder_that_may_not_be_read_is_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(path: Any) -> Any:
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(os, "listdir", refusing)
    (one,) = (await look(store)).unusable
    assert (one.code, one.values) == (
        "models_folder_unreadable",
        {"path": str(store), "detail": "Permission denied"},
    )


async def test_a_store_into_which_nothing_was_pulled_yet_is_empty_and_one_that_is_not_there_is_told(
    store: Path,
) -> None:
    assert await look(store) == Shelf(folder=str(store))
    (one,) = (await look(store / "gone")).unusable
    assert (one.code, one.values["detail"]) == ("models_folder_unreadable", "No such file or directory")


async def test_the_store_is_where_ollama_would_look(store: Path, tmp_path: Path, weights: bytes) -> None:
    add(store, "m", weights)
    configured = EngineProgram(ProgramKind.OLLAMA, models_dir=str(tmp_path / "one"))
    told = EngineProgram(ProgramKind.OLLAMA, environment=(f"OLLAMA_MODELS={tmp_path}/two",))
    folders = ModelFolders("/for/gguf", {"OLLAMA_MODELS": str(store)})
    found = [(await folders.look(each)).folder for each in (configured, told, PROGRAM)]
    assert found == [f"{tmp_path}/one", f"{tmp_path}/two", str(store)]


async def test_a_user_without_models_is_told_where_those_of_the_service_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ollama_store, "SERVICE", tmp_path / "service")
    folders = ModelFolders(None, {})
    assert await folders.look(PROGRAM) == Shelf(folder=f"{tmp_path}/.ollama/models")
    (tmp_path / "service").mkdir()
    (one,) = (await folders.look(PROGRAM)).unusable
    assert str(one) == (
        f"{tmp_path}/.ollama/models has no model; those of Ollama's system service are in {tmp_path}/service"
    )
