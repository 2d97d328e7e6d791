"""The key and the certificate by which paired machines know this one."""

import hashlib
import os
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ollama_proxyd.edges.plumbing.certificates import self_signed
from ollama_proxyd.edges.plumbing.way import Pinned

ID_CHARACTERS = 16


class Identity(NamedTuple):
    """This machine. `key_file` holds the private key, readable by its owner alone."""

    certificate: str
    key_file: Path
    certificate_file: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex."""
        return fingerprint(self.certificate)

    def context(self, protocol: int, trusted: Iterable[str]) -> Pinned:
        """TLS 1.3 with exactly the machines of these certificates; both sides show theirs."""
        context = Pinned(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_cert_chain(self.certificate_file, self.key_file)
        for each in trusted:
            context.load_verify_locations(cadata=each)
        return context


def fingerprint(certificate: str) -> str:
    """SHA-256 of a PEM certificate, in hex; raises ValueError where it is none."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


def identity_in(folder: Path) -> Identity:
    """The identity in a folder, made where there is none; raises OSError, or ValueError for a broken one."""
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (key_file.exists() and certificate_file.exists()):
        key, certificate = self_signed(os.urandom(ID_CHARACTERS // 2).hex())
        write_private(key_file, key)
        write_private(certificate_file, certificate)
    key_file.chmod(0o600)
    own = Identity(certificate_file.read_text(encoding="ascii"), key_file, certificate_file)
    own.context(ssl.PROTOCOL_TLS_CLIENT, ())  # raises ssl.SSLError, an OSError, where the key does not fit
    return own


def write_private(path: Path, content: bytes) -> None:
    """Replace a file whole, readable by its owner alone; raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
