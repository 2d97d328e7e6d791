"""Base64 in a field of a request, checked before it goes on in other words."""

import binascii

from ollama_proxyd.core.errors import ErrorKind, ProxyError


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
