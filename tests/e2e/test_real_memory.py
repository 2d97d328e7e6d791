"""What a model is estimated to take in memory, beside what a real llama-server says that it takes."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ollama_proxyd.core.gguf import GgufFacts
from ollama_proxyd.core.model_memory import Serving, estimate
from ollama_proxyd.edges.plumbing.gguf import read_gguf
from scripts import make_tiny_gguf
from scripts.make_tiny_gguf import U32, Shape, Tensor

pytestmark = pytest.mark.real
_BUFFER = re.compile(r"(\S+) +(?:model|KV|RS|compute|output) buffer size = +([0-9.]+) MiB")
SMALL = Shape(dim=256, layers=4, heads=8, kv_heads=2, ffn=1024)
WIDE = Shape(dim=1024, layers=4, heads=16, kv_heads=4, ffn=2816)


class Case(NamedTuple):
    """A model's file, and how it is served, in llama-server's words and in ours."""

    file: str
    options: Sequence[str]
    serving: dict[str, Any]


CASES = [
    Case("small", ["-c", "4096", "-np", "1"], {"context_tokens": 4096}),
    Case("small", ["-np", "1"], {}),
    Case("every_head_its_own", ["-c", "5000", "-np", "3"], {"context_tokens": 5000, "slots": 3}),
    Case("deep", ["-c", "16384", "-np", "2", "-kvu"], {"context_tokens": 16384, "slots": 2, "is_unified": True}),
    Case("wide_q4_K_M", ["-c", "2048", "-np", "1"], {"context_tokens": 2048}),
    Case("wide_q2_K", ["-c", "512", "-np", "1"], {"context_tokens": 512}),
    Case("windowed", ["-c", "16384", "-np", "1"], {"context_tokens": 16384}),
    Case("windowed", ["-c", "16384", "-np", "4"], {"context_tokens": 16384, "slots": 4}),
    Case(
        "small",
        ["-c", "8192", "-np", "1", "-ctk", "q8_0", "-ctv", "q4_0"],
        {"context_tokens": 8192, "key_type": "q8_0", "value_type": "q4_0"},
    ),
    Case("small", ["-c", "4096", "-np", "1", "-fa", "off"], {"context_tokens": 4096, "flash_attention": False}),
]


@pytest.fixture(scope="module")
def files(llama_program: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Six files: of several shapes, mixes of quantisation, and one that sees a sliding window."""
    folder = tmp_path_factory.mktemp("gguf")
    found = {name: folder / f"{name}.gguf" for name in ("small", "every_head_its_own", "deep", "windowed", "wide")}
    make_tiny_gguf.build(found["small"], SMALL)
    make_tiny_gguf.build(found["every_head_its_own"], Shape(dim=512, layers=12, heads=16, kv_heads=16, ffn=1024))
    make_tiny_gguf.build(found["deep"], Shape(dim=128, layers=48, heads=4, kv_heads=1, ffn=256))
    make_tiny_gguf.build(found["wide"], WIDE)
    _windowed(found["windowed"], Shape(dim=256, layers=12, heads=8, kv_heads=4, ffn=512))
    libraries = llama_program.resolve().parents[1] / "lib" / "x86_64-linux-gnu"
    loader: list[str | Path] = [
        libraries / "ld-linux-x86-64.so.2",
        "--library-path",
        f"{libraries}:{libraries / 'llama'}",
    ]
    for mix in ("q4_K_M", "q2_K"):
        found[f"wide_{mix}"] = folder / f"wide-{mix}.gguf"
        words: list[str | Path] = [
            llama_program.resolve().with_name("llama-quantize"),
            "--allow-requantize",
            found["wide"],
        ]
        subprocess.run([*loader, *words, found[f"wide_{mix}"], mix], check=True, capture_output=True, timeout=50)
    return found


def _windowed(path: Path, shape: Shape) -> None:
    """Gemma 3's form: five of six layers see the last 512 tokens, and the embeddings are the output matrix too."""
    tokens, ones = make_tiny_gguf.vocabulary(), make_tiny_gguf.floats
    head = shape.dim // shape.heads
    parts: list[Tensor] = [each for each in make_tiny_gguf.tensors(shape, tokens) if each.name != "output.weight"]
    for layer in range(shape.layers):
        norms = {"attn_q_norm": head, "attn_k_norm": head, "post_attention_norm": shape.dim, "post_ffw_norm": shape.dim}
        parts += [ones(f"blk.{layer}.{name}.weight", (size,), [1.0] * size) for name, size in norms.items()]
    keys = [
        (key.replace("llama.", "gemma3."), kind, "gemma3" if value == "llama" and key.endswith("ure") else value)
        for key, kind, value in make_tiny_gguf.metadata(shape, tokens)
    ]
    own = {"sliding_window": 512, "key_length": head, "value_length": head}
    make_tiny_gguf.write(path, parts, [*keys, *((f"gemma3.attention.{key}", U32, own[key]) for key in own)])


def reported(program: Path, file: Path, options: Sequence[str]) -> tuple[float, bool]:
    """The sum of all buffers that llama-server says it has made, in MiB, and whether it uses AMX."""
    given: list[str | Path] = ["-m", file, "--port", "0", "--no-warmup", "-fit", "off", "-lv", "4", *options]
    told, error = [], ""
    with subprocess.Popen(
        ["nice", "-n", "15", program, *given], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        for line in server.stdout:
            told += _BUFFER.findall(line)
            error = line
            if "listening on" in line:
                break
        server.kill()
    assert told, error
    return sum(float(size) for _, size in told), any(name == "AMX" for name, _ in told)


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join([case.file, *case.options]))
def test_the_estimate_is_within_10_percent_of_what_llama_server_reports(
    case: Case, files: dict[str, Path], llama_program: Path
) -> None:
    report_mib, has_amx = reported(llama_program, files[case.file], case.options)
    memory = estimate(read_gguf(files[case.file]), Serving(has_amx=has_amx, **case.serving))
    assert memory is not None
    assert memory.total_bytes / 2**20 == pytest.approx(report_mib, rel=0.1)


def test_the_facts_are_those_of_the_file(files: dict[str, Path]) -> None:
    mixed: GgufFacts = read_gguf(files["wide_q4_K_M"])
    assert (mixed.quantization, mixed.architecture, len(mixed.layers)) == ("Q4_K_M", "llama", 4)
    assert {"Q4_K", "Q6_K", "F32"} <= set(mixed.types)
    assert (mixed.layers[0].heads, mixed.layers[0].kv_heads, mixed.layers[0].key_length) == (16, 4, 64)
    windowed = read_gguf(files["windowed"])
    assert [each.is_sliding for each in windowed.layers[:6]] == [True] * 5 + [False]
    assert windowed.sliding_window == 512
    assert windowed.is_tied
