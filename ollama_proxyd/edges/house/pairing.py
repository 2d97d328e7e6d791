"""Pairing: two machines prove to each other that a person typed the code of the one at the other (SPAKE2).

What passes tells nothing of the code, so that it can be guessed only by trying, once for each connection. What
follows, each machine's certificate, name and port, is sealed by the key that the code has made.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from spake2 import SPAKE2_A, SPAKE2_B, SPAKEError

from ollama_proxyd.core.house import Peer
from ollama_proxyd.edges.house.card import Card, peer_of
from ollama_proxyd.edges.house.places import told_by

MOST_BYTES = 8192
STEP_S = 5.0
MOST_AT_ONCE = 4
"""So many may try at the same time."""
_LENGTH = struct.Struct("!I")
_GUEST, _HOST = b"ollama-proxyd pairing 1, guest", b"ollama-proxyd pairing 1, host"
_NONCE = bytes(12)
"""Each key seals one message."""


class WrongCodeError(Exception):
    """The other side does not know the code."""


class Host:
    """Shows a code, and waits for who knows it."""

    def __init__(
        self, code: str, card: Card, met: Callable[[Peer], Awaitable[None]], failed: Callable[[], None]
    ) -> None:
        self._code = code.encode()
        self._card = card
        self._met = met
        """Keeps the other machine; raises OSError or ValueError where it cannot, and then the other keeps nothing."""
        self._failed = failed
        self._server: asyncio.Server | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def open(self, port: int) -> None:
        """Begin to listen; raises OSError."""
        self._server = await asyncio.start_server(self._greet, None, port, limit=MOST_BYTES)

    async def close(self) -> None:
        """Take no more attempts."""
        if self._server is not None:
            self._server.close()
        for each in self._under_way:
            each.cancel()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._under_way) < MOST_AT_ONCE:
                self._under_way.add(task)
                with suppress(OSError, EOFError, ValueError, SPAKEError):
                    await self._serve(reader, writer)
        finally:
            self._under_way.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = await _read(reader)
        side = SPAKE2_B(self._code, idA=_GUEST, idB=_HOST)
        ours, key = await asyncio.to_thread(_finished, side, theirs)
        await _write(writer, ours)
        sealed = await _read(reader)
        try:
            peer = peer_of(_opened(key, _GUEST, sealed), _address_of(writer))
        except WrongCodeError:
            self._failed()
            return
        await self._met(peer)
        await _write(writer, _sealed(key, _HOST, msgspec.json.encode(self._card)))


async def join(code: str, address: str, port: int, card: Card) -> Peer:
    """Pair with the machine that shows a code; raises OSError, TimeoutError, WrongCodeError, or ValueError."""
    async with asyncio.timeout(STEP_S):
        reader, writer = await asyncio.open_connection(address, port, limit=MOST_BYTES)
    try:
        side = SPAKE2_A(code.encode(), idA=_GUEST, idB=_HOST)
        await _write(writer, await asyncio.to_thread(side.start))
        theirs = await _read(reader)
        key = await asyncio.to_thread(_key_of, side.finish, theirs)
        await _write(writer, _sealed(key, _GUEST, msgspec.json.encode(card)))
        try:
            sealed = await _read(reader)
        except EOFError as error:
            raise WrongCodeError from error
        return peer_of(_opened(key, _HOST, sealed), _address_of(writer))
    except EOFError as error:
        raise OSError("it closed the connection; its code may be used up") from error
    except SPAKEError as error:
        raise ValueError("what answers there does not speak this protocol") from error
    finally:
        writer.close()


def _finished(side: SPAKE2_B, theirs: bytes) -> tuple[bytes, bytes]:
    ours: bytes = side.start()
    return ours, _key_of(side.finish, theirs)


def _key_of(finish: Callable[[bytes], bytes], theirs: bytes) -> bytes:
    try:
        return finish(theirs)
    except (AssertionError, ValueError) as error:  # of bytes that are no point of the curve
        raise ValueError("what came is no message of this protocol") from error


def _sealed(key: bytes, role: bytes, content: bytes) -> bytes:
    return bytes(AESGCM(_derived(key, role)).encrypt(_NONCE, content, role))


def _opened(key: bytes, role: bytes, sealed: bytes) -> bytes:
    try:
        return bytes(AESGCM(_derived(key, role)).decrypt(_NONCE, sealed, role))
    except InvalidTag as error:
        raise WrongCodeError from error


def _derived(key: bytes, role: bytes) -> bytes:
    return bytes(HKDF(hashes.SHA256(), 32, None, role).derive(key))


def _address_of(writer: asyncio.StreamWriter) -> str:
    host, _, *more = writer.get_extra_info("peername")
    return told_by(str(host), more[1] if len(more) > 1 else 0)


async def _read(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(STEP_S):
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MOST_BYTES:
            raise ValueError("what came is no message of this protocol")
        return await reader.readexactly(length)


async def _write(writer: asyncio.StreamWriter, message: bytes) -> None:
    if writer.is_closing():  # uvloop raises RuntimeError for a word to a connection that has ended
        raise EOFError
    writer.write(_LENGTH.pack(len(message)) + message)
    async with asyncio.timeout(STEP_S):
        await writer.drain()
