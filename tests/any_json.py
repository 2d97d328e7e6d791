"""Strategies for JSON that nobody expects: arbitrary values, and good samples with parts of them replaced."""

import json
from typing import Any

from hypothesis import strategies as st

HUGE = 10**400
_NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**53, -(2**63), 2**64, 10**30, HUGE, -HUGE, 0.5, -0.0, 1e308, 5e-324])
_WORDS = st.sampled_from(
    ["", "x", "-1", "5m", "9" * 400 + "h", "json", "tool", "data:", "data:image/png;base64,AAAA", "AAAA", "/9j/AAAA"]
)
_KEYS = st.sampled_from(["id", "name", "model", "type", "function", "arguments", "error", "message", "url", "content"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


def _wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=4)


ANY_JSON: st.SearchStrategy[Any] = st.recursive(_LEAVES | _NUMBERS | _WORDS, _wider, max_leaves=12)


@st.composite
def nearly(draw: st.DrawFn, sample: Any) -> Any:
    """The sample with some of its parts replaced by anything or left out."""
    if draw(st.integers(0, 9)) == 0:
        return draw(ANY_JSON)
    if isinstance(sample, dict):
        kept = [key for key in sample if draw(st.integers(0, 9)) > 0]
        return {key: draw(nearly(sample[key])) for key in kept}
    if isinstance(sample, list):
        return [draw(nearly(each)) for each in sample]
    return sample


@st.composite
def nearly_bytes(draw: st.DrawFn, sample: Any) -> bytes:
    """The same as bytes, of which one may be replaced, or the end be missing."""
    data = json.dumps(draw(nearly(sample)), ensure_ascii=draw(st.booleans())).encode()
    at = draw(st.integers(0, len(data) - 1))
    match draw(st.integers(0, 5)):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + draw(st.binary(max_size=2)) + data[at + 1 :]
        case 2:
            return data.replace(b'"x', b'"\xff')
        case _:
            return data
