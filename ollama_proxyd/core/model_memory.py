"""An estimate of the memory that a GGUF model takes while it is served, as llama.cpp's engines divide it."""

from collections.abc import Mapping
from dataclasses import dataclass

from ollama_proxyd.core.gguf import GgufFacts

CACHE_BYTES: Mapping[str, float] = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32,
    "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip
"""Bytes of one number in the cache, by llama-server's names of its types."""
BATCH_TOKENS = 512
"""Tokens that are computed at once (`n_ubatch`), where nothing else is said."""
_CELLS = 256
"""The cache is made in steps of so many tokens."""
_AMX_MORE = 4 / 34
"""What a block of Q8_0 takes more, as AMX's instructions want it (ggml-cpu/amx)."""
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class Serving:
    """How an engine serves a model; the defaults are llama-server's own for one request at a time."""

    context_tokens: int | None = None
    """Of all slots together; None: as many as the model was trained for."""
    slots: int = 1
    is_unified: bool = False
    """Whether the slots share one cache."""
    key_type: str = "f16"
    value_type: str = "f16"
    batch_tokens: int = BATCH_TOKENS
    flash_attention: bool = True
    has_amx: bool = False
    """Whether the weights are laid out anew for AMX, as llama.cpp does on processors with it."""


@dataclass(frozen=True, slots=True)
class ModelMemory:
    """An estimate, by what needs it; of an engine's process itself nothing."""

    weights_bytes: int
    cache_bytes: int
    """Keys and values of the whole context, and states of recurrent layers."""
    compute_bytes: int
    """What is between the layers of a batch."""

    @property
    def total_bytes(self) -> int:
        """All of it on one device."""
        return self.weights_bytes + self.cache_bytes + self.compute_bytes


def estimate(facts: GgufFacts, serving: Serving = Serving()) -> ModelMemory | None:
    """The memory that a model takes; None where its file does not say enough."""
    context = serving.context_tokens or facts.context_length
    if not facts.layers or not facts.embedding_length or not context:
        return None
    streams = 1 if serving.is_unified else max(serving.slots, 1)
    cells = _padded(context // streams)
    window = _window_cells(facts, serving, cells)
    return ModelMemory(
        weights_bytes=_weights(facts, has_amx=serving.has_amx),
        cache_bytes=_cache(facts, serving, (cells * streams, window * streams)),
        compute_bytes=_compute(facts, serving, cells, window),
    )


def _weights(facts: GgufFacts, *, has_amx: bool) -> int:
    more = 0.0
    if has_amx and "Q8_0" in facts.types:
        more = facts.types["Q8_0"].size_bytes * _AMX_MORE
    if has_amx and facts.is_tied:
        more += facts.embedding_bytes  # the table is kept as it is, and once more as the output matrix
    return int(facts.size_bytes + more)


def _window_cells(facts: GgufFacts, serving: Serving, cells: int) -> int:
    """The cache of a layer that sees the sliding window alone (`llama_kv_cache_iswa`)."""
    if not facts.sliding_window:
        return cells
    windows = max(serving.slots, 1) if serving.is_unified else 1
    return _padded(min(cells, facts.sliding_window * windows + serving.batch_tokens))


def _cache(facts: GgufFacts, serving: Serving, cells: tuple[int, int]) -> int:
    key, value = (CACHE_BYTES.get(each, 2.0) for each in (serving.key_type, serving.value_type))
    grown = sum(cells[each.is_sliding] * (each.keys * key + each.values * value) for each in facts.layers)
    state = facts.recurrence
    return int(grown + (state.layers * state.numbers * _FLOAT * max(serving.slots, 1) if state else 0))


def _compute(facts: GgufFacts, serving: Serving, cells: int, window: int) -> int:
    """The largest of what lies beside each other while a batch passes one layer, and the logits."""
    width, tokens = facts.embedding_length or 0, min(serving.batch_tokens, cells)
    queries = max(each.heads * each.key_length for each in facts.layers)
    keys = max(each.keys for each in facts.layers)
    numbers = 5 * width + max(3 * (facts.feed_forward_length or 4 * width), queries + keys)
    seen = cells + (window if any(each.is_sliding for each in facts.layers) else 0)
    heads = max(each.heads for each in facts.layers)
    of_one_seen = 2 if serving.flash_attention else _FLOAT * (heads + 1)  # a mask, or the scores of each head
    logits = 2 * max(serving.slots, 1) * (facts.vocabulary or 0) * _FLOAT
    return tokens * (numbers * _FLOAT + seen * of_one_seen) + logits


def _padded(tokens: int) -> int:
    return -(-max(tokens, 1) // _CELLS) * _CELLS
