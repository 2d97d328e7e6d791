"""What a backend is called and where it is, as the configuration writes it."""

from typing import Annotated, TypeAlias

from ollama_proxyd.core.options import Like, Option

BackendId: TypeAlias = Annotated[
    str,
    Like(
        "^(?!none$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        'an id of up to 64 letters, digits, ".", "_" and "-" that begins with a letter or digit '
        'and is not "none", which stands for no backend',
    ),
]
DisplayName: TypeAlias = Annotated[
    str,
    Like(
        r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,128}$",
        "a name of up to 128 characters in one line, without control characters",
    ),
]
Name: TypeAlias = Annotated[
    DisplayName, Option("backends[].", "The display name; null: the id.", written=DisplayName | None)
]
_PCI_ADDRESS = "^([0-9A-Fa-f]{4}:)?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}[.][0-7]$"
UnitName: TypeAlias = Annotated[
    str, Like(r"^[A-Za-z0-9:_.\\@-]{1,247}\.service$", "the name of a systemd service, such as ollama.service")
]
PciAddress: TypeAlias = Annotated[str, Like(_PCI_ADDRESS, "a PCI address such as 0000:01:00.0, as lspci -D shows it")]
_ENDPOINT = '^(https?://[A-Za-z0-9._:\\[\\]-]+(/[!-"$->A-~]*)?|unix:/[A-Za-z0-9._/@:+,=-]+)$'
Endpoint: TypeAlias = Annotated[
    str,
    Like(
        _ENDPOINT,
        "an address such as http://127.0.0.1:11434 or unix:/run/user/1000/llama.sock, "
        "without user name, query or fragment",
    ),
]


Proxy: TypeAlias = Annotated[
    str,
    Like(
        "^(env|none|https?://[A-Za-z0-9._:\\[\\]-]+/?)$",
        '"env", "none", or an address such as http://proxy:3128, without a password',
    ),
]
HostName: TypeAlias = Annotated[
    str, Like("^([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])$", "a host name without scheme and port")
]
SocketPath: TypeAlias = Annotated[str, Like("^[^\\x00]+[^/\\x00]$", "the path of a socket, such as ollama-proxyd.sock")]


def whole_pci_address(written: str) -> str:
    """The address with its domain, as the kernel writes it."""
    address = written.lower()
    return address if address.count(":") == 2 else f"0000:{address}"
