"""Forms with files: fields are found wherever they stand, and what is no form is refused."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.dialects.framing.form import MOST_PARTS, MOST_VALUE_BYTES, places, value_at

KIND = "multipart/form-data; boundary=X"


def part(head: str, content: bytes) -> bytes:
    return f"--X\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"


def model_in(*parts: bytes, kind: str = KIND, end: bytes = b"--X--\r\n") -> str | None:
    form = bytearray(b"".join(parts) + end)
    return value_at(form, places(form, kind, ("model",)).get("model"), "model")


FILE = part('name="file"; filename="a.wav"\r\nContent-Type: audio/wav', b"RIFF\r\n--\r\n--Y--\r\n\r\n")
MODEL = part('name="model"', b"whisper")


@pytest.mark.parametrize("parts", [(MODEL, FILE), (FILE, MODEL), (FILE, MODEL, part('name="language"', b"de"))])
def test_a_field_is_found_before_and_behind_files(parts: tuple[bytes, ...]) -> None:
    assert model_in(*parts) == "whisper"


@pytest.mark.parametrize(
    "head",
    [
        "name=model",
        'name="model"; charset=utf-8',
        'name = "model"'.replace(" ", ""),
        'name="model"\r\nContent-Type: text/plain; charset=utf-8',
    ],
)
def test_clients_write_a_name_in_several_ways(head: str) -> None:
    assert model_in(part(head, b"m")) == "m"


@pytest.mark.parametrize(
    "head", ['name="file"; filename="a; name=\\"model\\""', 'filename="x"; name="model"', 'name="x;name=model"']
)
def test_a_file_is_no_field_whatever_it_is_called(head: str) -> None:
    assert model_in(part(head, b"m")) is None


@pytest.mark.parametrize(
    "kind", ['multipart/form-data; boundary="X"', "Multipart/Form-Data; charset=utf-8; Boundary=X"]
)
def test_a_boundary_may_be_quoted_and_come_late(kind: str) -> None:
    assert model_in(MODEL, kind=kind) == "whisper"


@pytest.mark.parametrize(
    ("parts", "end", "told"),
    [
        ((MODEL,), b"", "not complete"),
        ((), b"", "not complete"),
        ((MODEL, MODEL), b"--X--", "more than once"),
        ((part('name="model"', b"m" * (MOST_VALUE_BYTES + 1)),), b"--X--", "longer than"),
        ((part('name="model"', b"\xff"),), b"--X--", "UTF-8"),
        ((FILE,) * (MOST_PARTS + 1), b"--X--", "parts"),
        ((b"--X\r\n" + b"a" * 9000 + b"\r\n\r\n",), b"--X--", "head"),
    ],
)
def test_what_is_no_whole_form_is_refused(parts: tuple[bytes, ...], end: bytes, told: str) -> None:
    with pytest.raises(ProxyError, match=told):
        model_in(*parts, end=end)


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=X"])
def test_another_content_type_is_told_apart(kind: str) -> None:
    with pytest.raises(ProxyError, match="boundary") as caught:
        model_in(MODEL, kind=kind)
    assert caught.value.code == "unsupported_media_type"


@given(st.binary(max_size=400), st.binary(max_size=3 * 1024), st.booleans())
def test_any_file_leaves_the_field_alone(noise: bytes, more: bytes, is_first: bool) -> None:
    content = noise * 3 + more
    if re.search(rb"\r\n--X", b"\r\n" + content):
        return
    file = part('name="file"; filename="a"', content)
    assert model_in(*((MODEL, file) if is_first else (file, MODEL))) == "whisper"


@given(st.binary(max_size=300), st.sampled_from([KIND, "multipart/form-data; boundary=-", ""]))
def test_nothing_that_comes_breaks_it(noise: bytes, kind: str) -> None:
    with suppress(ProxyError):
        model_in(b"--X\r\n", noise, kind=kind)


def test_a_large_file_is_searched_to_its_end() -> None:
    assert model_in(part('name="file"; filename="a"', b"\r\n--" * 800_000), MODEL) == "whisper"
