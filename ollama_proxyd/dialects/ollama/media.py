"""Tells images from sound by the first characters of their base64, since Ollama sends both under `images`."""

import msgspec

from ollama_proxyd.core.requests import Audio, Image
from ollama_proxyd.dialects.framing.binary import checked_base64

_IMAGES = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "Qk": "image/bmp"}
_SOUNDS = {"SUQz": "mp3", "//s": "mp3", "//u": "mp3", "ZkxhQ": "flac", "T2dnUw": "ogg"}
_RIFF = "UklGR"
_WAVE_IN_RIFF = "XQVZF"
"""Where a RIFF file says WAVE (bytes 8 to 11), as base64 writes it from character 11 on; WebP says otherwise."""

NO_MEDIA = msgspec.Raw(b"")


def media_bytes(images: msgspec.Raw) -> int:
    """The size of an `images` field that holds something; 0 when it is absent, null or an empty list."""
    if len(images) > 64:
        return len(images)
    text = bytes(images).strip()
    return 0 if text == b"null" or not text[1:-1].strip() else len(images)


def read_media(given: str, field: str) -> Image | Audio:
    """The picture or the sound that a field holds in base64; an unknown one counts as a picture without a type."""
    data = checked_base64(given, field)
    if data.startswith(_RIFF):
        return Audio(data, "wav") if data[11:16] == _WAVE_IN_RIFF else Image(data, "image/webp")
    for prefix, sound in _SOUNDS.items():
        if data.startswith(prefix):
            return Audio(data, sound)
    kind = next((kind for prefix, kind in _IMAGES.items() if data.startswith(prefix)), None)
    return Image(data, kind)
