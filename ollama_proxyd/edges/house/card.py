"""What machines tell each other of themselves when they pair."""

import re

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ollama_proxyd.core.house import Peer
from ollama_proxyd.edges.house.identity import fingerprint

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")


class Card(msgspec.Struct):
    """A machine's certificate (PEM), its name, and the port at which it serves paired machines."""

    certificate: str
    name: str
    port: int


def peer_of(content: bytes, address: str) -> Peer:
    """The machine of a card; raises ValueError where it is none."""
    card = msgspec.json.decode(content, type=Card)
    if not _NAME.fullmatch(card.name) or not 0 < card.port < 65536:
        raise ValueError("the other machine's name or port is none")
    # Written anew, so that nothing but one certificate is kept.
    certificate = x509.load_pem_x509_certificate(card.certificate.encode()).public_bytes(Encoding.PEM).decode("ascii")
    return Peer(fingerprint(certificate), card.name, certificate, address, card.port)


def name_of(host_name: str) -> str:
    """A name for a machine from its host name."""
    return re.sub("[^A-Za-z0-9-]", "-", host_name.partition(".")[0])[:32].lstrip("-") or "machine"
