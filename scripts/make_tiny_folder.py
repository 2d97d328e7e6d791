#!/usr/bin/env python3
"""Makes a tiny chat model in Hugging Face's form whose every answer is known beforehand, for mlx_lm.server and vLLM.

Its layers are noise that is too small to matter, and its output matrix maps each token to the one that follows it in a
script. So at temperature 0 a chat answers REPLY, one with tools calls get_weather, and "think" is thought about first.
"""

import json
import random
import struct
import sys
from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

REPLY = ("Hello", "!", " I", " am", " a", " tiny", " random", " model", " \U0001f642", " Goodbye", ".")
CALL = ("<tool_call>", '{"name": "get_weather", ', '"arguments": ', '{"city": "Paris"}}', "</tool_call>")
THINK = ("<think>", "Let", " me", " think", "</think>")
START, END, TOOLS, PAD = "<|im_start|>", "<|im_end|>", "<|tools|>", "<|endoftext|>"
SPECIAL = (PAD, START, END, TOOLS)
DIM, FFN, HEADS, LAYERS, CONTEXT = 128, 128, 4, 2, 8192
SHARPNESS = 100.0
TEMPLATE = """{%- if tools %}<|im_start|>system
{%- for t in tools %}
{{ t | tojson }}
{%- endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for tool_call in message.tool_calls or [] %}{% set tool_call = tool_call.function %}<tool_call>\
{"name": "{{ tool_call.name }}", "arguments": {{ tool_call.arguments | tojson }}}</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if tools and messages[-1].role != 'tool' %}<|tools|>{% elif messages[-1].content == 'think' %}<think>{% endif %}\
{% endif %}"""


def byte_characters() -> list[str]:
    """The character that stands for each byte, as GPT-2 has them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def vocabulary() -> dict[str, int]:
    """All tokens with their numbers: the bytes first."""
    single = byte_characters()
    words = [each for each in dict.fromkeys((*REPLY, *CALL, *THINK)) if each not in single]
    return {token: number for number, token in enumerate((*sorted(single), *SPECIAL, *words))}


def followers(ids: dict[str, int]) -> Iterator[tuple[int, int]]:
    """Each token of the script with the one that follows it."""
    for chain in (
        (byte_characters()[ord("\n")], *REPLY, END),
        (TOOLS, *CALL, END),
        (*THINK, REPLY[0]),
    ):
        yield from ((ids[one], ids[other]) for one, other in pairwise(chain))


def tensors(ids: dict[str, int]) -> dict[str, tuple[tuple[int, ...], "array[float]"]]:
    """The weights, by their names in transformers' Llama."""
    noise = random.Random(7)
    table = [[noise.gauss(0, DIM**-0.5) for _ in range(DIM)] for _ in ids]
    output = [[0.0] * DIM for _ in ids]
    for one, other in followers(ids):
        output[other] = [have + SHARPNESS * more for have, more in zip(output[other], table[one], strict=True)]
    flat = {"model.embed_tokens.weight": table, "lm_head.weight": output, "model.norm.weight": [[1.0] * DIM]}
    shapes = {f"self_attn.{name}_proj": (DIM, DIM) for name in "qkvo"}
    shapes |= {"mlp.gate_proj": (FFN, DIM), "mlp.up_proj": (FFN, DIM), "mlp.down_proj": (DIM, FFN)}
    for layer in range(LAYERS):
        for name, (rows, columns) in shapes.items():
            drawn = [[noise.gauss(0, 1e-4) for _ in range(columns)] for _ in range(rows)]
            flat[f"model.layers.{layer}.{name}.weight"] = drawn
        for name in ("input_layernorm", "post_attention_layernorm"):
            flat[f"model.layers.{layer}.{name}.weight"] = [[1.0] * DIM]
    return {
        name: (
            (len(rows[0]),) if "norm" in name else (len(rows), len(rows[0])),
            array("f", (number for row in rows for number in row)),
        )
        for name, rows in flat.items()
    }


def write_safetensors(path: Path, parts: dict[str, tuple[tuple[int, ...], "array[float]"]]) -> None:
    """Write tensors with their header (github.com/huggingface/safetensors, Format)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, (shape, numbers) in parts.items():
        end = begin + len(numbers) * numbers.itemsize
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(each.tobytes() for _, each in parts.values()))


def tokenizer(ids: dict[str, int]) -> dict[str, Any]:
    """What tokenizer.json says: bytes, and words that are found as they are."""
    bytewise = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True, "type": "ByteLevel"}
    added = [
        {"id": number, "content": token, "special": token in SPECIAL, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for token, number in ids.items()
        if number >= 256
    ]
    vocab = {token: number for token, number in ids.items() if number < 256}
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": bytewise,
        "decoder": bytewise,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }


def build(folder: Path) -> Path:
    """Write the model's files into a new folder."""
    folder.mkdir(parents=True)
    ids = vocabulary()
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": DIM,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "vocab_size": len(ids),
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "torch_dtype": "float32",
        "tie_word_embeddings": False,
        "eos_token_id": ids[END],
    }
    words = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": PAD}
    files = {
        "config": config,
        "tokenizer": tokenizer(ids),
        "tokenizer_config": {**words, "model_max_length": CONTEXT, "chat_template": TEMPLATE},
        "generation_config": {"eos_token_id": ids[END], "pad_token_id": ids[PAD]},
    }
    for name, said in files.items():
        (folder / f"{name}.json").write_text(json.dumps(said), encoding="utf-8")
    write_safetensors(folder / "model.safetensors", tensors(ids))
    return folder


if __name__ == "__main__":
    build(Path(sys.argv[1]))
