"""Server-sent events: the ends of their frames, and the data of each event."""

ENDS = (b"\n\n", b"\n\r\n")
"""A blank line; what ends the line before it may be CR LF."""


def events(block: bytes) -> list[bytes]:
    """The data of each event in a block; comments and other fields are skipped."""
    found: list[bytes] = []
    data: list[bytes] = []
    for line in block.splitlines():
        if line.startswith(b"data:"):
            data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif not line and data:
            found.append(b"\n".join(data))
            data = []
    if data:
        found.append(b"\n".join(data))
    return found
