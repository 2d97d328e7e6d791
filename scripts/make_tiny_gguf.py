#!/usr/bin/env python3
"""Makes a tiny chat model in GGUF form whose every answer is known beforehand, from nothing but arithmetic.

The layers are random Q8_0 noise (a real attention, a real cache, real kernels), small enough that what reaches the
output is still the last token's own embedding; the output matrix maps each token to the one that follows it in a
script. So at temperature 0, on every processor:

  a chat                 answers REPLY, then ends its turn
  a chat that thinks     answers THINK as thinking, then REPLY
  a chat with tools      calls a tool, with the arguments that the server's grammar forces
  a JSON schema          gets the shortest JSON that fits it, strings being "sun"
  ignore_eos             repeats REPLY for ever
"""

import argparse
import hashlib
import struct
from array import array
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

REPLY = (
    "Hello! I am a tiny random model, made to test proxies without any real weights. My only trick is streaming "
    "these words one by another so that every client can compare them exactly. If you read this sentence, both "
    "server and gateway work. \U0001f642 Goodbye."
)
THINK = "Let me think about it: nothing here needs deep reasoning."
EXTRA_WORDS = (
    "the quick brown fox jumps over lazy dog what who where when how why hi hey please tell story say more list "
    "write code in of for with on at from be are was were do does did not no yes user assistant system weather "
    "city time name value number true false null"
)
CHAT_TEMPLATE = """{%- if tools %}<|im_start|>system
You may call these functions. <tools>
{%- for t in tools %}
{{ t | tojson }}
{%- endfor %}
</tools> Answer with <tool_call>{"name": <name>, "arguments": <object>}</tool_call><|im_end|>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ m.role }}
{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}\
{% if m.content %}{{ m.content }}{% endif %}
{%- for c in m.tool_calls or [] %}<tool_call>{"name": "{{ c.function.name }}", "arguments": \
{{ c.function.arguments | tojson }}}</tool_call>{% endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if tools and messages[-1].role != 'tool' %}<|tools|>\
{% elif enable_thinking is defined and enable_thinking %}<think>{% endif %}{% endif %}"""

SPACE = "\u2581"  # how SentencePiece writes a space
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6  # GGUF's token types
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # GGUF's types of metadata
TENSOR_F32, TENSOR_Q8_0 = 0, 8
ALIGNMENT = 32

SPECIAL_TOKENS = [
    ("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), ("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL),
    ("<|tools|>", CONTROL), ("<think>", USER_DEFINED), ("</think>", USER_DEFINED), ("<tool_call>", USER_DEFINED),
    ("</tool_call>", USER_DEFINED),
]  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """How large the model is; `pooling` 1 (mean) makes it an embedding model."""

    dim: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 128
    ctx: int = 4096
    seed: int = 1
    pooling: int = 0
    name: str = "tiny"


@dataclass(frozen=True)
class Tensor:
    """One matrix or vector as it lies in the file; `shape` has the innermost dimension first."""

    name: str
    shape: tuple[int, ...]
    kind: int
    data: bytes


def script_tokens(text: str) -> list[str]:
    """The text as tokens: each word with the space before it, and one for each byte of any sign beyond ASCII."""
    tokens = []
    for word in text.replace(" ", " " + SPACE).split():
        bare = word.lstrip(SPACE)
        tokens += [word] if bare.isascii() else [SPACE, *(f"<0x{byte:02X}>" for byte in bare.encode())]
    return tokens


def vocabulary() -> list[tuple[str, int]]:
    """Every token with its type: special ones, 256 bytes, ASCII, and each beginning of each word."""
    pieces = dict.fromkeys([SPACE, "sun", *map(chr, range(33, 127))])
    for word in script_tokens(REPLY) + script_tokens(THINK) + script_tokens(" " + EXTRA_WORDS):
        if not word.startswith("<0x"):
            pieces.update(dict.fromkeys(word[:length] for length in range(1, len(word) + 1)))
    return SPECIAL_TOKENS + [(f"<0x{byte:02X}>", BYTE) for byte in range(256)] + [(piece, NORMAL) for piece in pieces]


def followers(ids: dict[str, int]) -> list[tuple[int, int, float]]:
    """The script: which token calls which next one, and how strongly."""
    reply, think = script_tokens(REPLY), script_tokens(THINK)
    if len({*reply, *think}) != len(reply) + len(think):
        raise ValueError("a token may occur only once in the script, for it alone decides the next one")
    pairs = [
        *pairwise(reply), *pairwise(think), (reply[-1], "<|im_end|>"), (think[-1], "</think>"), ("<0x0A>", reply[0]),
        ("</think>", reply[0]), ("<think>", think[0]), ("<|tools|>", "<tool_call>"), ("{", '"'), (":", '"'),
        ('"', "sun"), ("sun", '"'), ("}", "</tool_call>"), ("</tool_call>", "<|im_end|>"),
    ]  # fmt: skip
    restart = (ids[reply[-1]], ids[reply[0]], 0.5)  # the second choice after the end: ignore_eos begins anew
    return [*((ids[before], ids[after], 1.0) for before, after in pairs), restart]


def embeddings(shape: Shape, count: int) -> list[list[float]]:
    """A random vector of signs of length 1 for each token; the last dimension is alike in all, to carry a bias."""
    scale = shape.dim**-0.5
    raw = hashlib.shake_128(b"%d/embd" % shape.seed).digest(shape.dim * count)
    return [
        [(1.0 if byte & 1 else -1.0) / shape.dim**0.5 for byte in raw[start : start + shape.dim - 1]] + [scale]
        for start in range(0, shape.dim * count, shape.dim)
    ]


def output_matrix(shape: Shape, tokens: list[tuple[str, int]], unit: list[list[float]]) -> list[list[float]]:
    """A row for each token: the embedding of the one that calls it, or next to nothing where none does."""
    gain = 20.0
    root = shape.dim**0.5
    ids = {token: index for index, (token, _) in enumerate(tokens)}
    pairs = followers(ids)
    rows = [[0.0] * shape.dim for _ in tokens]
    for before, after, weight in pairs:
        rows[after] = [x + weight * gain / root * u for x, u in zip(rows[after], unit[before], strict=True)]
    scripted = {after for _, after, _ in pairs}
    bias = {ids["}"]: 3.0, ids["]"]: 3.0}  # where nothing is scripted, JSON rather ends than goes on
    for index, (_, kind) in enumerate(tokens):
        if index not in scripted:  # bytes and special tokens come only where the script says so
            rows[index] = [gain / 4 / root * u for u in unit[(index * 7 + 3) % len(tokens)]]
            rows[index][-1] = bias.get(index, 0.0 if kind == NORMAL else -gain / 2)
    return rows


def floats(name: str, shape: tuple[int, ...], values: list[float]) -> Tensor:
    """A tensor of float32."""
    return Tensor(name, shape, TENSOR_F32, array("f", values).tobytes())


def noise(shape: Shape, name: str, columns: int, rows: int, sigma: float) -> Tensor:
    """A random matrix in Q8_0: blocks of one half-precision scale and 32 signed bytes."""
    raw = hashlib.shake_128(f"{shape.seed}/{name}".encode()).digest(columns * rows)
    scale = struct.pack("<e", sigma / 74.0)
    blocks = (scale + raw[start : start + 32] for start in range(0, len(raw), 32))
    return Tensor(name, (columns, rows), TENSOR_Q8_0, b"".join(blocks))


def layer(shape: Shape, index: int) -> list[Tensor]:
    """One transformer block."""
    dim, ffn, kv = shape.dim, shape.ffn, shape.kv_heads * (shape.dim // shape.heads)
    quiet = 0.1 / shape.layers  # what a block adds to the stream stays small beside the token's embedding
    matrices = [
        ("attn_q", dim, dim, 1), ("attn_k", dim, kv, 1), ("attn_v", dim, kv, 1), ("attn_output", dim, dim, quiet),
        ("ffn_gate", dim, ffn, 1), ("ffn_up", dim, ffn, 1), ("ffn_down", ffn, dim, quiet),
    ]  # fmt: skip
    return [
        floats(f"blk.{index}.attn_norm.weight", (dim,), [1.0] * dim),
        floats(f"blk.{index}.ffn_norm.weight", (dim,), [1.0] * dim),
        *(noise(shape, f"blk.{index}.{n}.weight", cols, rows, s / cols**0.5) for n, cols, rows, s in matrices),
    ]


def tensors(shape: Shape, tokens: list[tuple[str, int]]) -> list[Tensor]:
    """All that the model has learned, which is nothing but its script."""
    unit = embeddings(shape, len(tokens))
    wide = (shape.dim, len(tokens))
    return [
        floats("token_embd.weight", wide, [x * shape.dim**0.5 for row in unit for x in row]),
        floats("output_norm.weight", (shape.dim,), [1.0] * shape.dim),
        floats("output.weight", wide, [x for row in output_matrix(shape, tokens, unit) for x in row]),
        *(tensor for index in range(shape.layers) for tensor in layer(shape, index)),
    ]


def metadata(shape: Shape, tokens: list[tuple[str, int]]) -> list[tuple[str, int, Any]]:
    """The header's keys, each with its type and value."""
    scores = [-float(index) if kind == NORMAL else 0.0 for index, (_, kind) in enumerate(tokens)]
    end_of_turn = next(index for index, (token, _) in enumerate(tokens) if token == "<|im_end|>")
    keys: list[tuple[str, int, Any]] = [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, shape.name),
        ("general.file_type", U32, 7),
        ("general.quantization_version", U32, 2),
        ("llama.context_length", U32, shape.ctx),
        ("llama.embedding_length", U32, shape.dim),
        ("llama.block_count", U32, shape.layers),
        ("llama.feed_forward_length", U32, shape.ffn),
        ("llama.attention.head_count", U32, shape.heads),
        ("llama.attention.head_count_kv", U32, shape.kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        ("llama.rope.dimension_count", U32, shape.dim // shape.heads),
        ("llama.vocab_size", U32, len(tokens)),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.pre", STRING, "default"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, [token for token, _ in tokens])),
        ("tokenizer.ggml.scores", ARRAY, (F32, scores)),
        ("tokenizer.ggml.token_type", ARRAY, (I32, [kind for _, kind in tokens])),
        ("tokenizer.ggml.unknown_token_id", U32, 0),
        ("tokenizer.ggml.bos_token_id", U32, 1),
        ("tokenizer.ggml.eos_token_id", U32, end_of_turn),
        ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.ggml.add_space_prefix", BOOL, False),
        ("tokenizer.chat_template", STRING, CHAT_TEMPLATE),
    ]
    return keys + ([("llama.pooling_type", U32, shape.pooling)] if shape.pooling else [])


def packed(kind: int, value: Any) -> bytes:
    """A metadata value in GGUF's form."""
    if kind == ARRAY:
        of, items = value
        return struct.pack("<IQ", of, len(items)) + b"".join(packed(of, item) for item in items)
    if kind == STRING:
        text: bytes = value.encode()
        return struct.pack("<Q", len(text)) + text
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def padded(data: bytes) -> bytes:
    """The data up to the next boundary."""
    return data + bytes(-len(data) % ALIGNMENT)


def build(path: Path, shape: Shape = Shape()) -> None:
    """Write the model's file."""
    tokens = vocabulary()
    write(path, tensors(shape, tokens), metadata(shape, tokens))


def write(path: Path, parts: list[Tensor], keys: list[tuple[str, int, Any]]) -> None:
    """Write a file of these tensors and keys."""
    header = [struct.pack("<4sIQQ", b"GGUF", 3, len(parts), len(keys))]
    header += [packed(STRING, key) + struct.pack("<I", kind) + packed(kind, value) for key, kind, value in keys]
    offset = 0
    for part in parts:
        sizes = struct.pack(f"<I{len(part.shape)}QIQ", len(part.shape), *part.shape, part.kind, offset)
        header.append(packed(STRING, part.name) + sizes)
        offset += len(padded(part.data))
    path.write_bytes(padded(b"".join(header)) + b"".join(padded(part.data) for part in parts))


def main() -> None:
    """Take the path and the shape from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    for field in fields(Shape):
        parser.add_argument("--" + field.name.replace("_", "-"), type=field.type, default=field.default)
    options = vars(parser.parse_args())
    build(options.pop("path"), Shape(**options))


if __name__ == "__main__":
    main()
