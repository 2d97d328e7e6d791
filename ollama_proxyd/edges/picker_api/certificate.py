"""The certificate by which the picker serves TLS: a given one, read anew when it has changed, or one of its own."""

import logging
import ssl
import tempfile
from pathlib import Path
from typing import Final

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.edges.plumbing.certificates import self_signed

log = logging.getLogger(__name__)

NAMES: Final = ("tls.crt", "tls.key")
"""As secrets of Kubernetes have them."""


class Certificate:
    """What a server shows. `folder` holds `tls.crt` and `tls.key`; None for a certificate that nobody vouches for."""

    def __init__(self, folder: str | None) -> None:
        self._folder = None if folder is None else Path(folder).expanduser()
        self._seen = self._state()
        self._newest = self.context = self._read()
        """For the server; whoever connects is shown the newest."""
        if self._folder is not None:
            self.context.sni_callback = self._choose

    def _choose(self, handshake: ssl.SSLObject, *_: object) -> None:
        """Read the files anew where they have changed; a broken pair leaves the one before in force."""
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                self._newest = self._read()
            except ProxyError as error:
                log.warning("%s; the certificate before stays in force", error.message)
        handshake.context = self._newest

    def _state(self) -> tuple[float, ...]:
        if self._folder is None:
            return ()
        files = [self._folder / name for name in NAMES]
        return tuple([each.stat().st_mtime if each.exists() else 0.0 for each in files])

    def _read(self) -> ssl.SSLContext:
        if self._folder is not None:
            return _context(self._folder)
        with tempfile.TemporaryDirectory() as made:
            for name, content in zip(NAMES, reversed(self_signed("ollama-proxyd picker")), strict=True):
                (Path(made) / name).write_bytes(content)
            return _context(Path(made))


def _context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    certificate, key = (folder / name for name in NAMES)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        message = f"cannot read the picker's certificate {certificate} and its key {key}: {error}; see picker.cert_path"
        raise ProxyError(ErrorKind.UNAVAILABLE, message, code="certificate_unreadable") from error
    return context
