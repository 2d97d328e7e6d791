"""Media in messages: found cheaply, and never fetched from anywhere."""

from dataclasses import dataclass

import msgspec

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing.binary import checked_base64
from ollama_proxyd.dialects.framing.jsonbody import invalid

_PARTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


@dataclass(frozen=True, slots=True)
class Media:
    """How many images a message holds, and how many bytes all its media take in the body."""

    images: int = 0
    size_bytes: int = 0


NO_MEDIA = Media()

_MEDIA_KEYS = ("_url", "_audio", "file")
"""How the keys of a part end under which media stand."""

_JPEG = "/9j/"
"""The base64 of a picture that looks like a path."""


def find_media(content: msgspec.Raw, field: str) -> Media:
    """The media in a message's content; raises INVALID_REQUEST when something would have to be fetched."""
    first = bytes(memoryview(content)[:1])
    if first in (b'"', b"n"):
        return NO_MEDIA
    if first != b"[":
        kind = "object" if first == b"{" else "boolean" if first in (b"t", b"f") else "number"
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"invalid message content type: {kind} ({field})")
    try:
        parts = _PARTS.decode(content)
        return _sum_of(parts, field)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(error) from error


def _sum_of(parts: list[dict[str, msgspec.Raw]], field: str) -> Media:
    images = size_bytes = 0
    for index, part in enumerate(parts):
        for key, raw in part.items():
            if not key.endswith(_MEDIA_KEYS):
                continue
            value = msgspec.json.decode(raw)
            address = value.get("url") if isinstance(value, dict) else value
            if isinstance(address, str):
                refuse_remote(address, f"{field}[{index}].{key}")
            images += key == "image_url"
            size_bytes += len(memoryview(raw))
    return Media(images, size_bytes)


def refuse_remote(url: str, field: str) -> None:
    """Raise INVALID_REQUEST unless the URL is data: or plain base64; some servers would open a path."""
    if url.startswith("data:"):
        return
    if ":" in url[:64]:
        what = field.rpartition(".")[2].removesuffix("_url")
        raise ProxyError(
            ErrorKind.INVALID_REQUEST,
            f"{what} URLs are not currently supported, please use base64 encoded data instead ({field})",
        )
    if url.startswith("/") and not url.startswith(_JPEG):
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{field} is a path, and no file is opened", param=field)
    checked_base64(url, field)
