"""Forms with files (RFC 7578): where a field stands, found without a copy of the form."""

import re
from collections.abc import Iterator, Mapping, Sequence

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.jsonbody import invalid_request

MOST_PARTS = 256
MOST_HEAD_BYTES = 8 * 1024
MOST_VALUE_BYTES = 4 * 1024
"""The longest value of a field that is read."""

_KIND = re.compile(r"multipart/form-data\s*;(?:.*;)?\s*boundary=(?:\"([^\"]{1,70})\"|([^\s;\",]{1,70}))", re.IGNORECASE)
_DISPOSITION = re.compile(rb"(?:^|\r\n)content-disposition:[ \t]*form-data((?:[^\r]|\r(?!\n))*)", re.IGNORECASE)
_PARAMETER = re.compile(rb";[ \t]*([a-z*]{1,20})=(\"(?:[^\"\\]|\\.)*\"|[^;\s]*)[ \t]*", re.IGNORECASE | re.DOTALL)
_SLICE_BYTES = 1024 * 1024
"""So much is searched in one step: other threads wait for it."""


def places(form: bytearray, content_type: str, names: Sequence[str]) -> dict[str, slice]:
    """Where the values of some fields stand; ProxyError where it is no whole form or has one of them twice."""
    found: dict[str, slice] = {}
    for name, place in _fields(form, _boundary(content_type)):
        if name not in names:
            continue
        if name in found:
            raise invalid_request(f"{name} is given more than once", name)
        if place.stop - place.start > MOST_VALUE_BYTES:
            raise invalid_request(f"{name} is longer than {MOST_VALUE_BYTES} bytes", name)
        found[name] = place
    return found


def place(form: bytearray, content_type: str, pinned: Mapping[str, str], defaults: Mapping[str, str]) -> None:
    """Put these fields into a form: pinned ones in place of its own, defaults where it has none; raises ProxyError."""
    boundary = _boundary(content_type)
    for name, value in {**defaults, **pinned}.items():
        at = places(form, content_type, (name,)).get(name)
        if at is None:
            first = b"--" + boundary
            after = len(first) if form.startswith(first) else _end(form, b"\r\n" + first, 0)
            head = f'\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            form[after:after] = head.encode() + first
        elif name in pinned:
            form[at] = value.encode()


def value_at(form: bytearray, place: slice | None, name: str) -> str | None:
    """The text of a field, None where it is not given."""
    if place is None:
        return None
    try:
        return form[place].decode()
    except UnicodeDecodeError:
        raise invalid_request(f"{name} is not UTF-8", name) from None


def _boundary(content_type: str) -> bytes:
    match = _KIND.match(content_type.strip())
    if match is None:
        message = "send a form: Content-Type multipart/form-data with its boundary"
        raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="Content-Type", code="unsupported_media_type")
    return (match[1] or match[2]).encode("utf-8", "surrogateescape")


def _fields(form: bytearray, boundary: bytes) -> Iterator[tuple[str, slice]]:
    """Each part that is no file."""
    first, delimiter = b"--" + boundary, b"\r\n--" + boundary
    at = len(first) if form.startswith(first) else _end(form, delimiter, 0)
    for _ in range(MOST_PARTS):
        if form[at : at + 2] == b"--":
            return
        head_end = form.find(b"\r\n\r\n", at, at + MOST_HEAD_BYTES)
        if head_end < 0:
            raise invalid_request("a part of the form has no head, or a very long one")
        after = _end(form, delimiter, head_end + 2)
        name = _name(bytes(form[at:head_end]))
        if name is not None:
            yield name, slice(head_end + 4, max(after - len(delimiter), head_end + 4))
        at = after
    raise ProxyError(ErrorKind.TOO_LARGE, f"the form has more than {MOST_PARTS} parts, the most that are read")


def _end(form: bytearray, mark: bytes, at: int) -> int:
    """Where the next mark ends."""
    while at < len(form):
        if (found := form.find(mark, at, at + _SLICE_BYTES + len(mark))) >= 0:
            return found + len(mark)
        at += _SLICE_BYTES
    raise invalid_request("the form is not complete: its last boundary is missing")


def _name(head: bytes) -> str | None:
    """The name of a field, None for a file's or where there is none."""
    match = _DISPOSITION.search(head)
    if match is None:
        return None
    given = {key.lower(): value for key, value in _PARAMETER.findall(match[1])}
    is_file = b"filename" in given or b"filename*" in given
    return None if is_file or b"name" not in given else given[b"name"].strip(b'"').decode("utf-8", "replace")
