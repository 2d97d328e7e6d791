"""What the admin API keeps, in one SQLite file that its owner alone may read; made with the first change."""

import asyncio
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from ollama_proxyd.core.administration import Change, Entry, Kept, Kind, Role, Token
from ollama_proxyd.edges.storage.history_file import is_damaged

T = TypeVar("T")

VERSION: Final = 1
LOCKED_FOR_S: Final = 2.0
_TABLES: Final = (
    "CREATE TABLE entries (kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, name))",
    """CREATE TABLE tokens (
        name TEXT PRIMARY KEY, role INTEGER NOT NULL, sha256 TEXT NOT NULL, created_unix_s REAL NOT NULL)""",
    """CREATE TABLE audit (
        id INTEGER PRIMARY KEY, unix_s REAL NOT NULL, who TEXT NOT NULL, place TEXT NOT NULL,
        action TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL)""",
)


def admin_path(state: Path) -> Path:
    """Where it belongs: beside the state."""
    return state.with_name("admin.db")


class AdminFile:
    """The file; each call opens it, works in one transaction, and closes it. Raises OSError where that fails."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_now(self) -> Kept:
        """All entries and tokens, in the order in which they were added."""
        if not self.path.exists():
            return Kept()
        with self._opened() as file:
            entries = file.execute("SELECT kind, name, body FROM entries ORDER BY rowid").fetchall()
            tokens = file.execute("SELECT name, role, sha256, created_unix_s FROM tokens ORDER BY rowid").fetchall()
        try:
            return Kept(
                tuple(Entry(Kind(kind), name, json.loads(body)) for kind, name, body in entries),
                tuple(Token(name, Role(role), sha256, created) for name, role, sha256, created in tokens),
            )
        except ValueError as error:
            raise OSError(f"{self.path} holds what no version wrote: {error}") from error

    async def read(self) -> Kept:
        """The same, off the loop."""
        return await asyncio.to_thread(self.read_now)

    async def put(self, entry: Entry, change: Change) -> None:
        """Keep an entry in place of one of the same kind and name."""
        row = (entry.kind.value, entry.name, json.dumps(entry.values))
        into = "INSERT INTO entries (kind, name, body) VALUES (?, ?, ?)"
        await self._change(f"{into} ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body", row, change)

    async def delete(self, kind: Kind, name: str, change: Change) -> None:
        """Forget an entry."""
        await self._change("DELETE FROM entries WHERE kind = ? AND name = ?", (kind.value, name), change)

    async def put_token(self, token: Token, change: Change) -> None:
        """Keep a token."""
        row = (token.name, int(token.role), token.sha256, token.created_unix_s)
        into = "INSERT OR REPLACE INTO tokens (name, role, sha256, created_unix_s) VALUES (?, ?, ?, ?)"
        await self._change(into, row, change)

    async def delete_token(self, name: str, change: Change) -> None:
        """Forget a token."""
        await self._change("DELETE FROM tokens WHERE name = ?", (name,), change)

    async def note(self, change: Change) -> None:
        """Audit what changes nothing that is kept."""
        await self._change(None, (), change)

    async def audit(self, limit: int) -> Sequence[Change]:
        """The last changes, newest first."""

        def read() -> list[Change]:
            if not self.path.exists():
                return []
            with self._opened() as file:
                asked = "SELECT unix_s, who, place, action, kind, name FROM audit ORDER BY id DESC LIMIT ?"
                return [Change(*row) for row in file.execute(asked, (limit,))]

        return await asyncio.to_thread(read)

    async def _change(self, statement: str | None, row: tuple[object, ...], change: Change) -> None:
        def write() -> None:
            with self._opened() as file:
                if statement is not None:
                    file.execute(statement, row)
                file.execute(
                    "INSERT INTO audit (unix_s, who, place, action, kind, name) VALUES (?, ?, ?, ?, ?, ?)", change
                )

        await asyncio.to_thread(write)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A transaction on the file, made where there is none; its faults are OSErrors."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            with closing(sqlite3.connect(self.path, timeout=LOCKED_FOR_S)) as file, file:
                _bring_up(file, self.path)
                yield file
        except sqlite3.Error as error:
            advice = "; move it away to begin anew" if is_damaged(error) else ""
            raise OSError(f"{self.path} cannot be used: {error}{advice}") from error
        except OSError as error:
            if error.strerror is None:
                raise  # it says all already
            raise OSError(f"{self.path} cannot be used: {error.strerror}") from error


def _bring_up(file: sqlite3.Connection, path: Path) -> None:
    """Make the tables of an empty file; refuse one of a later version."""
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise OSError(f"{path} was written by a later version (schema {version}); this one reads schema {VERSION}")
    if version < VERSION:
        for statement in _TABLES:
            file.execute(statement)
        file.execute(f"PRAGMA user_version = {VERSION}")
