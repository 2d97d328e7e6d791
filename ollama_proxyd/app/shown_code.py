"""The code that this machine shows for another one: once, for two minutes, and for a few attempts."""

import asyncio
import logging
import secrets

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.house import ATTEMPTS, CODE_DIGITS, PAIRING_S, PairingStatus, Peer
from ollama_proxyd.services.ports import Clock

log = logging.getLogger(__name__)


class ShownCode:
    """A code that is shown."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
        self._ends_s = clock.monotonic() + PAIRING_S
        self.attempts_left = ATTEMPTS
        self.met: Peer | None = None
        self.ended = asyncio.Event()
        self._is_taken = False

    def take(self) -> bool:
        """Whether a machine that knows the code may be kept now; where it is, `end_attempt` is due."""
        if self._is_taken or self.ended.is_set():
            return False
        self._is_taken = True
        return True

    def end_attempt(self) -> None:
        """It was kept, or could not be and may try again."""
        self._is_taken = False
        if self.met is not None:
            self.ended.set()

    async def used(self) -> Peer:
        """Wait for the machine that uses it; raises ProxyError where it has run out, or wrong ones came."""
        try:
            async with asyncio.timeout(PAIRING_S):
                await self.ended.wait()
        except TimeoutError:
            message = f"no machine used the code within {PAIRING_S:g} s; begin again"
            raise ProxyError(ErrorKind.UNAVAILABLE, message, code="pairing_expired") from None
        if self.met is None:
            message = f"{ATTEMPTS} wrong codes came, so this one no longer counts; begin again"
            raise ProxyError(ErrorKind.UNAVAILABLE, message, code="pairing_failed")
        return self.met

    def fail(self) -> None:
        """A wrong code came."""
        self.attempts_left -= 1
        log.warning("a machine tried to pair with a wrong code; %d attempts are left", self.attempts_left)
        if not self.attempts_left:
            self.ended.set()

    def status(self) -> PairingStatus:
        """The code as people read it, and how long it counts."""
        left_s = max(self._ends_s - self._clock.monotonic(), 0.0)
        return PairingStatus(f"{self.code[:4]}-{self.code[4:]}", left_s, self.attempts_left)
