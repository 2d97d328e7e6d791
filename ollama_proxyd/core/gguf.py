"""What a GGUF file says of its model: the facts that its size in memory and its speed follow from."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from ollama_proxyd.core.values import value

Metadata: TypeAlias = Mapping[str, object]
"""Keys of GGUF's specification with their values, as in the file or in the `model_info` of Ollama's /api/show."""

MOST_LAYERS = 4096
MOST = 2**48
"""Numbers beyond count as absent."""

TENSOR_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
"""`ggml_type` of ggml.h."""

_FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4",
    40: "Q1_0",
}  # fmt: skip
"""`llama_ftype` of llama.h."""

_SLIDING_PATTERNS: Mapping[str, int] = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "llama4": 4, "gpt-oss": 2, "exaone4": 4, "olmo2": 4,
    "smallthinker": 4, "gemma-embedding": 6,
}  # fmt: skip
"""Of so many layers the last sees the whole context, where the file does not say (`set_swa_pattern` of llama.cpp)."""


class Tensor(NamedTuple):
    """One tensor of a file."""

    name: str
    type: str
    parameters: int
    size_bytes: int


class TypeShare(NamedTuple):
    """The tensors of one type."""

    tensors: int
    parameters: int
    size_bytes: int


@value
class Layer:
    """What one layer keeps for each token; a head count of 0 is a layer without a cache that grows."""

    heads: int
    kv_heads: int
    key_length: int
    value_length: int
    is_sliding: bool = False
    """Whether it sees only the sliding window."""

    @property
    def keys(self) -> int:
        """Numbers of the keys of one token."""
        return self.kv_heads * self.key_length

    @property
    def values(self) -> int:
        """Numbers of the values of one token."""
        return self.kv_heads * self.value_length


@value
class Recurrence:
    """The state of fixed size that a recurrent layer keeps for each sequence."""

    layers: int
    numbers: int
    """In one layer."""


@value
class Experts:
    """A mixture of experts."""

    count: int
    used: int | None
    """For each token."""


@value
class GgufFacts:
    """A model's facts; None where the file does not say."""

    architecture: str
    name: str | None
    size_bytes: int
    """Of the tensors."""
    parameters: int
    types: Mapping[str, TypeShare]
    quantization: str | None
    """As llama.cpp names the mix, such as Q4_K_M."""
    layers: tuple[Layer, ...]
    """Empty where the file does not say enough of them."""
    context_length: int | None
    """What it was trained for."""
    embedding_length: int | None
    feed_forward_length: int | None
    """Of the widest layer, and of a mixture of all experts that one token uses."""
    vocabulary: int | None
    embedding_bytes: int = 0
    """Of the table of the tokens' embeddings, which stays in the processor's memory."""
    is_tied: bool = False
    """Whether that table is the output matrix as well."""
    sliding_window: int | None = None
    experts: Experts | None = None
    recurrence: Recurrence | None = None
    is_embedding: bool = False
    """Whether it pools its tokens' vectors into one."""
    files: int = 1


def facts_of(metadata: Metadata, tensors: Iterable[Tensor], files: int = 1) -> GgufFacts:
    """The facts of a model from its metadata and tensors; ValueError where it is not said what it is.

    Without tensors the parameters are those that the metadata counts.
    """
    keys, parts = _Keys(metadata), tuple(tensors)
    embedding = next((each for each in parts if each.name == "token_embd.weight"), None)
    embedding_length = keys.number("embedding_length")
    vocabulary = keys.number("vocab_size") or _length(metadata.get("tokenizer.ggml.tokens"))
    if vocabulary is None and embedding is not None and embedding_length:
        vocabulary = embedding.parameters // embedding_length
    types = _by_type(parts)
    layers, recurrence = _layers(keys)
    experts = keys.number("expert_count")
    return GgufFacts(
        architecture=keys.architecture,
        name=_text(metadata.get("general.name")),
        size_bytes=sum(each.size_bytes for each in parts),
        parameters=sum(each.parameters for each in parts) or _whole(metadata.get("general.parameter_count")) or 0,
        types=types,
        quantization=_quantization(metadata, types),
        layers=layers,
        context_length=keys.number("context_length"),
        embedding_length=embedding_length,
        feed_forward_length=_feed_forward(keys, len(layers)),
        vocabulary=vocabulary,
        embedding_bytes=embedding.size_bytes if embedding else 0,
        is_tied=embedding is not None and not any(each.name == "output.weight" for each in parts),
        sliding_window=keys.number("attention.sliding_window") or None,
        experts=Experts(experts, keys.number("expert_used_count")) if experts else None,
        recurrence=recurrence,
        is_embedding=bool(keys.number("pooling_type")),
        files=files,
    )


class _Keys:
    """The metadata under the prefix of its architecture; what is no plausible number is absent."""

    def __init__(self, metadata: Metadata) -> None:
        architecture = _text(metadata.get("general.architecture"))
        if not architecture:
            raise ValueError("it does not say general.architecture")
        self.architecture = architecture
        self._metadata = metadata

    def number(self, key: str) -> int | None:
        """A whole number."""
        return _whole(self._metadata.get(f"{self.architecture}.{key}"))

    def numbers(self, key: str, layers: int) -> list[int]:
        """A number for each layer, from a list or from one for all; empty where neither is there."""
        value = self._metadata.get(f"{self.architecture}.{key}")
        if isinstance(value, list | tuple):
            found = [_whole(each) for each in value[:layers]]
            return [each for each in found if each is not None] if len(found) == layers else []
        whole = _whole(value)
        return [] if whole is None else [whole] * layers


def _layers(keys: _Keys) -> tuple[tuple[Layer, ...], Recurrence | None]:
    """Each layer's attention, and the state of those that have none; empty where a needed number is not said."""
    count, width = keys.number("block_count"), keys.number("embedding_length")
    if not count or count > MOST_LAYERS or not width:
        return (), None
    heads = keys.numbers("attention.head_count", count)
    kv_heads = keys.numbers("attention.head_count_kv", count) or heads
    if len(heads) != count or len(kv_heads) != count:
        return (), None
    head = width // max(*heads, 1)
    key, value = keys.number("attention.key_length") or head, keys.number("attention.value_length") or head
    short = (keys.number("attention.key_length_swa") or key, keys.number("attention.value_length_swa") or value)
    sliding = _sliding(keys, count)
    own = count - (keys.number("attention.shared_kv_layers") or 0)
    layers = tuple(
        Layer(heads[i], kv_heads[i] if i < own else 0, *(short if sliding[i] else (key, value)), sliding[i])
        for i in range(count)
    )
    return _without_recurrent(keys, layers)


def _sliding(keys: _Keys, count: int) -> list[bool]:
    """Which layers see the sliding window alone; none where that is not known, since more memory is safer."""
    if not keys.number("attention.sliding_window"):
        return [False] * count
    said = keys.numbers("attention.sliding_window_pattern", count)
    if said and len(set(said)) > 1:
        return [bool(each) for each in said]
    every = said[0] if said and said[0] > 1 else _SLIDING_PATTERNS.get(keys.architecture, 1)
    return [i % every < every - 1 for i in range(count)]


def _without_recurrent(keys: _Keys, layers: tuple[Layer, ...]) -> tuple[tuple[Layer, ...], Recurrence | None]:
    """The layers, of which the recurrent ones keep no cache, and the state of those (`n_embd_r`, `n_embd_s`)."""
    inner, state = keys.number("ssm.inner_size"), keys.number("ssm.state_size")
    if not inner or not state:
        return layers, None
    every = keys.number("full_attention_interval")
    if every:
        layers = tuple(
            each if (i + 1) % every == 0 else Layer(each.heads, 0, each.key_length, each.value_length)
            for i, each in enumerate(layers)
        )
    groups, kernel = keys.number("ssm.group_count") or 0, keys.number("ssm.conv_kernel") or 1
    numbers = (kernel - 1) * (inner + 2 * groups * state) + state * inner
    return layers, Recurrence(sum(not each.kv_heads for each in layers), numbers)


def _feed_forward(keys: _Keys, layers: int) -> int | None:
    of_experts = (keys.number("expert_feed_forward_length") or 0) * (keys.number("expert_used_count") or 0)
    return max([of_experts, *keys.numbers("feed_forward_length", layers)]) or None


def _by_type(tensors: Iterable[Tensor]) -> dict[str, TypeShare]:
    found: dict[str, TypeShare] = {}
    for each in tensors:
        number, parameters, size_bytes = found.get(each.type, (0, 0, 0))
        found[each.type] = TypeShare(number + 1, parameters + each.parameters, size_bytes + each.size_bytes)
    return found


def _quantization(metadata: Metadata, types: Mapping[str, TypeShare]) -> str | None:
    """What the file says, else the type of most of its weights."""
    said = _FILE_TYPES.get(_whole(metadata.get("general.file_type")) or 0)
    largest = max(types, key=lambda each: types[each].parameters, default=None)
    return said if "general.file_type" in metadata and said else largest


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int) and 0 <= value <= MOST else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _length(value: object) -> int | None:
    return len(value) if isinstance(value, list | tuple | range) and value else None
