"""Changes to backends and front ends while the daemon runs: checked as the file is, kept, audited, put in force."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from ollama_proxyd.core.administration import (
    MOST_AUDITED,
    MOST_ENTRIES,
    MOST_TOKENS,
    Change,
    Entry,
    Kept,
    Kind,
    LeftOut,
    Role,
    Token,
    Who,
    Written,
)
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json
from ollama_proxyd.services.ports import AdminStore, Clock

T = TypeVar("T")


class Settings(Protocol):
    """The configuration as a whole, with entries beside the file's."""

    def check(self, before: Sequence[Entry], after: Sequence[Entry]) -> Callable[[], Awaitable[None]]:
        """What puts the entries after a change in force, without those that the file contradicted before.

        Raises ProxyError with everything that is wrong.
        """

    @property
    def path(self) -> str | None:
        """The file that applies, None where there is none."""

    def written(self) -> Sequence[Written]:
        """The options in force."""

    def shown(self, kind: Kind) -> Sequence[dict[str, Json]]:
        """All of a kind that are in force, in the words of the file."""

    def left_out(self) -> Sequence[LeftOut]:
        """The entries that are kept and not in force, since the file contradicts them."""

    def is_in_file(self, kind: Kind, name: str) -> bool:
        """Whether the file names one, which then counts."""


class Admin:
    """The one that changes them, one change at a time."""

    def __init__(self, store: AdminStore, kept: Kept, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._kept = kept
        self.settings = settings
        self._clock = clock
        self._turn = asyncio.Lock()
        self._making: set[asyncio.Task[Any]] = set()

    @property
    def entries(self) -> Sequence[Entry]:
        """What is in force beside the file."""
        return self._kept.entries

    @property
    def tokens(self) -> Sequence[Token]:
        """The tokens that there are."""
        return self._kept.tokens

    def token_of(self, offered: str) -> Token | None:
        """The token that is offered, None where there is none such; all are compared, by their hashes."""
        digest, found = _hashed(offered), None
        for token in self._kept.tokens:
            if secrets.compare_digest(token.sha256, digest):
                found = token
        return found

    async def put(self, entry: Entry, who: Who) -> bool:
        """Add an entry, or replace it; whether it is new. Raises ProxyError, and then nothing has changed."""
        return await self._whole(self._put(entry, who))

    async def delete(self, kind: Kind, name: str, who: Who) -> None:
        """Take an entry away; raises ProxyError where there is none, or the file names it."""
        await self._whole(self._delete(kind, name, who))

    async def put_token(self, name: str, role: Role, who: Who) -> str:
        """Make a token, in place of one of that name; it is told this once."""
        return await self._whole(self._put_token(name, role, who))

    async def delete_token(self, name: str, who: Who) -> None:
        """Take a token away; raises ProxyError where there is none."""
        await self._whole(self._delete_token(name, who))

    async def _whole(self, change: Coroutine[Any, Any, T]) -> T:
        """A change is not left half made where its client leaves."""
        making = asyncio.create_task(change, name="admin.change")
        self._making.add(making)
        making.add_done_callback(self._made)
        return await asyncio.shield(making)

    def _made(self, making: asyncio.Task[Any]) -> None:
        self._making.discard(making)
        if not making.cancelled():
            making.exception()  # told to the client, if it is there

    async def _put(self, entry: Entry, who: Who) -> bool:
        async with self._turn:
            self._check_file(entry.kind, entry.name)
            before = self._kept.entries
            _check_letters(entry, before)
            others = tuple(each for each in before if each[:2] != entry[:2])
            if len(others) >= MOST_ENTRIES:
                raise ProxyError(ErrorKind.OVERLOADED, f"{MOST_ENTRIES} entries are kept, the most; delete some first")
            is_new = len(others) == len(before)
            entries = (*others, entry) if is_new else tuple(entry if each[:2] == entry[:2] else each for each in before)
            change = self._change(who, "add" if is_new else "replace", entry.kind.value, entry.name)
            await self._have(entries, partial(self._store.put, entry, change))
            return is_new

    async def _delete(self, kind: Kind, name: str, who: Who) -> None:
        async with self._turn:
            self._check_file(kind, name)
            others = tuple(each for each in self._kept.entries if each[:2] != (kind, name))
            if len(others) == len(self._kept.entries):
                raise _nothing(kind.value, name)
            change = self._change(who, "delete", kind.value, name)
            await self._have(others, partial(self._store.delete, kind, name, change))

    async def _have(self, entries: tuple[Entry, ...], keep: Callable[[], Awaitable[None]]) -> None:
        """Check, keep, put in force; where that fails, such as over a taken port, all is as before."""
        before = self._kept
        put_in_force = self.settings.check(before.entries, entries)
        await _kept(keep())
        try:
            await put_in_force()
        except BaseException:
            await self._restore(before.entries, entries)
            raise
        self._kept = replace(before, entries=entries)

    async def _restore(self, before: Sequence[Entry], after: Sequence[Entry]) -> None:
        who = Who("the daemon", "since it could not be put in force")
        for kind, name in {each[:2] for each in after} - {each[:2] for each in before}:
            await _kept(self._store.delete(kind, name, self._change(who, "delete", kind.value, name)))
        for was in before:
            if was not in after:
                await _kept(self._store.put(was, self._change(who, "restore", was.kind.value, was.name)))

    async def _put_token(self, name: str, role: Role, who: Who) -> str:
        async with self._turn:
            others = tuple(each for each in self._kept.tokens if each.name != name)
            if len(others) >= MOST_TOKENS:
                raise ProxyError(ErrorKind.OVERLOADED, f"there are {MOST_TOKENS} tokens, the most; delete some first")
            made = secrets.token_urlsafe(32)
            token = Token(name, role, _hashed(made), self._clock.unix())
            await _kept(self._store.put_token(token, self._change(who, "add", "tokens", name)))
            self._kept = replace(self._kept, tokens=(*others, token))
            return made

    async def _delete_token(self, name: str, who: Who) -> None:
        async with self._turn:
            others = tuple(each for each in self._kept.tokens if each.name != name)
            if len(others) == len(self._kept.tokens):
                raise _nothing("tokens", name)
            await _kept(self._store.delete_token(name, self._change(who, "delete", "tokens", name)))
            self._kept = replace(self._kept, tokens=others)

    async def note(self, who: Who, action: str, kind: str, name: str) -> None:
        """Audit what is about to be done; raises ProxyError where that cannot be kept."""
        await _kept(self._store.note(self._change(who, action, kind, name)))

    async def audit(self) -> Sequence[Change]:
        """The last changes, newest first."""
        try:
            return await self._store.audit(MOST_AUDITED)
        except OSError as error:
            raise ProxyError(ErrorKind.UNAVAILABLE, str(error)) from error

    def _check_file(self, kind: Kind, name: str) -> None:
        if self.settings.is_in_file(kind, name):
            message = (
                f"the configuration file names {name!r} under {kind.value}, and what it names counts; change it there"
            )
            raise ProxyError(ErrorKind.FORBIDDEN, message, code="in_file")

    def _change(self, who: Who, action: str, kind: str, name: str) -> Change:
        return Change(self._clock.unix(), who.name, who.place, action, kind, name)


def _check_letters(entry: Entry, before: Sequence[Entry]) -> None:
    """Raise ProxyError where a name differs from another by large and small letters alone: it would be the same."""
    for each in before:
        if each.kind is entry.kind and each.name != entry.name and each.name.lower() == entry.name.lower():
            message = f"{entry.name[:100]!r} is called {each.name!r} already; use that name"
            raise ProxyError(ErrorKind.INVALID_REQUEST, message, param="Identifier")


def _hashed(token: str) -> str:
    """A token of 256 random bits needs no slow hash."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def _nothing(kind: str, name: str) -> ProxyError:
    return ProxyError(ErrorKind.ROUTE_NOT_FOUND, f"the admin API has no {name[:100]!r} under {kind}", code="not_found")


async def _kept(keep: Awaitable[None]) -> None:
    try:
        await keep
    except OSError as error:
        raise ProxyError(ErrorKind.UNAVAILABLE, f"nothing has changed: {error}", code="not_kept") from error
