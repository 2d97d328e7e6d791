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


def checked_base64(data: str, field: str) -> str:
    """The data in one line; ProxyError(INVALID_REQUEST) names the field when it is empty or no base64."""
    line = data.replace("\r", "").replace("\n", "")
    try:
        is_base64 = bool(binascii.a2b_base64(line, strict_mode=True))
    except ValueError:
        is_base64 = False
    if not is_base64:
        raise ProxyError(ErrorKind.INVALID_REQUEST, f"{field} is not base64", param=field)
    return line
