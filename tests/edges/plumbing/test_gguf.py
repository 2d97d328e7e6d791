"""GGUF files are read within bounds: whatever they say, nothing is promised that is not there."""

import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_proxyd.edges.plumbing.gguf import MOST_KEPT, GgufError, model_info, read_gguf
from scripts import make_tiny_gguf
from scripts.make_tiny_gguf import ARRAY, STRING, U32, Shape, Tensor, floats, packed

KEYS: list[tuple[str, int, Any]] = [("general.architecture", STRING, "llama"), ("llama.block_count", U32, 1)]


def header(keys: int, tensors: int, rest: bytes = b"", version: int = 3) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, keys) + rest


def entry(key: str, kind: int, value: bytes) -> bytes:
    return packed(STRING, key) + struct.pack("<I", kind) + value


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "a.gguf"
    make_tiny_gguf.build(path, Shape())
    return path.read_bytes()


def why(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(GgufError) as error:
        read_gguf(path)
    return str(error.value)


def test_a_model_tells_its_facts(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(whole)
    facts = read_gguf(path)
    assert (facts.architecture, facts.name, facts.quantization, facts.vocabulary) == ("llama", "tiny", "Q8_0", 693)
    assert len(facts.layers) == 2
    assert facts.parameters == 162_752
    assert facts.size_bytes == sum(each.size_bytes for each in facts.types.values())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut short"),
        (b"GGML" + bytes(40), "does not begin with GGUF"),
        (header(0, 0, version=1), "version 1"),
        (header(2**63, 0), "too many"),
        (header(0, 2**40), "too many"),
        (header(1, 0, struct.pack("<Q", 2**63)), "name is too long"),
        (header(1, 0, entry("a", 99, b"")), "unknown type 99"),
        (header(1, 0, entry("a", STRING, struct.pack("<Q", 2**62))), "cut short"),
        (header(1, 0, entry("a", ARRAY, struct.pack("<IQ", U32, 2**60))), "arrays are too long"),
        (header(1, 0, entry("a", ARRAY, struct.pack("<IQ", U32, 7_000_000))), "cut short"),
        (header(1, 0, entry("a", ARRAY, struct.pack("<IQ", ARRAY, 1))), "array is in an array"),
        (header(1, 0, entry("a", ARRAY, struct.pack("<IQQ", STRING, 5000, 2**50))), "token is too long"),
        (header(1, 0, entry("a", ARRAY, struct.pack("<IQ", STRING, 5000))), "damaged"),
        (header(0, 0), "general.architecture"),
        (header(0, 1, packed(STRING, "t") + struct.pack("<I", 2**31)), "dimensions"),
        (header(0, 1, packed(STRING, "t") + struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0)), "too large"),
        (header(0, 1, packed(STRING, "t") + struct.pack("<IQIQ", 1, 64, 0, 2**63)), "cut short"),
    ],
)
def test_a_file_that_is_damaged_or_hostile_is_refused_with_the_reason(tmp_path: Path, data: bytes, said: str) -> None:
    told = why(tmp_path / "bad.gguf", data)
    assert said in told
    assert "bad.gguf" in told


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GgufError, match="no file"):
        read_gguf(tmp_path / "pipe.gguf")
    with pytest.raises(GgufError, match="No such file"):
        read_gguf(tmp_path / "gone.gguf")


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 40_000), at=st.integers(0, 40_000), byte=st.integers(0, 255))
def test_any_byte_may_be_wrong(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, cut: int, at: int, byte: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    for data in (whole[:cut], whole[:at] + bytes([byte]) + whole[at + 1 :]):
        path.write_bytes(data)
        try:
            read_gguf(path)
        except GgufError:
            continue


def test_long_arrays_are_counted_and_not_kept(tmp_path: Path) -> None:
    tokens = [f"t{number}" for number in range(MOST_KEPT + 1)]
    make_tiny_gguf.write(tmp_path / "a.gguf", [], [*KEYS, ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))])
    assert read_gguf(tmp_path / "a.gguf").vocabulary == MOST_KEPT + 1


def part(folder: Path, number: int, count: int, tensor: Tensor) -> Path:
    path = folder / f"big-{number:05}-of-{count:05}.gguf"
    make_tiny_gguf.write(path, [tensor], [*KEYS, ("split.no", U32, number - 1), ("split.count", U32, count)])
    return path


def test_a_model_in_several_files_is_one(tmp_path: Path) -> None:
    files = [part(tmp_path, number, 3, floats(f"t{number}", (8,), [0.0] * 8)) for number in (1, 2, 3)]
    for each in files:
        facts = read_gguf(each)
        assert (facts.files, facts.parameters, facts.size_bytes) == (3, 24, 96)
    files[1].unlink()
    with pytest.raises(GgufError, match="00002-of-00003"):
        read_gguf(files[0])
    files[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(GgufError, match="part of 3 files"):
        read_gguf(tmp_path / "renamed.gguf")


def test_what_a_file_says_is_told_without_its_vocabulary(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "a.gguf").write_bytes(whole)
    told = model_info(tmp_path / "a.gguf")
    assert (told["llama.block_count"], told["general.parameter_count"]) == (2, 162_752)
    assert not [key for key in told if key.startswith("tokenizer.")]
