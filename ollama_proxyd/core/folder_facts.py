"""The facts of a model in a folder, by the config.json that Hugging Face's libraries read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ollama_proxyd.core.gguf import GgufFacts, facts_of

_KEYS: Final[Mapping[str, str]] = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "vocab_size": "vocab_size",
}
"""The names of transformers (configuration_llama.py and its kin), by those of GGUF's specification."""


def facts_of_config(config: Mapping[str, object], size_bytes: int) -> GgufFacts | None:
    """The facts of a model whose weights take so many bytes; None where it is not said what it is.

    Windows that some layers are bound to are left out, so that no cache is taken for smaller than it is.
    """
    inner = config.get("text_config")
    said = {**config, **inner} if isinstance(inner, Mapping) else config
    kind = said.get("model_type")
    head = {"attention.key_length": said.get("head_dim"), "attention.value_length": said.get("head_dim")}
    metadata = {name: said.get(key) for key, name in _KEYS.items()} | head
    try:
        facts = facts_of(
            {"general.architecture": kind, **{f"{kind}.{name}": each for name, each in metadata.items()}}, ()
        )
    except ValueError:
        return None
    return replace(facts, size_bytes=size_bytes, quantization=_quantization(said))


def _quantization(config: Mapping[str, object]) -> str | None:
    """Bits as mlx_lm has them, a method as transformers has it, else the type of the weights."""
    for key in ("quantization", "quantization_config"):
        how = config.get(key)
        if isinstance(how, Mapping):
            bits, method = how.get("bits"), how.get("quant_method")
            named = method if isinstance(method, str) else None
            return f"{named or 'Q'}{bits}" if isinstance(bits, int) else named
    kind = config.get("dtype", config.get("torch_dtype"))
    return kind if isinstance(kind, str) else None
