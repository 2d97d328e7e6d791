"""Base64 in a field of a request: checked before it goes on in other words, and what kind of image it is."""

import binascii

from ollama_proxyd.core.errors import ErrorKind, ProxyError

_IMAGE_TYPES = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "Qk": "image/bmp",
}
"""How the base64 of an image's first bytes begins."""


def image_type(data: str) -> str | None:
    """The media type of an image by its first bytes, None where they are of no known one."""
    return next((kind for start, kind in _IMAGE_TYPES.items() if data.startswith(start)), None)


PIECE = 1024 * 1024
"""Characters that are decoded in one step, of which each keeps the event loop waiting; whole groups of four."""


def checked_base64(data: str, field: str) -> str:
    """The data in one line; ProxyError(INVALID_REQUEST) names the field when it is empty or no base64."""
    line = data
    for end in "\r\n":
        line = line.replace(end, "") if end in line else line  # to replace nothing takes ten times the search
    has_odd_end = len(line) % 4 or line.endswith("===")  # the decoder takes any number of marks after whole groups
    if not line or has_odd_end or not all(_is_base64(line, at) for at in range(0, len(line), PIECE)):
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{field} is not base64", param=field)
    return line


def _is_base64(line: str, at: int) -> bool:
    piece, is_last = line[at : at + PIECE], at + PIECE >= len(line)
    try:
        return bool(binascii.a2b_base64(piece, strict_mode=True)) and (is_last or not piece.endswith("="))
    except ValueError:
        return False
