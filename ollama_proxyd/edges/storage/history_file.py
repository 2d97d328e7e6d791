"""The history on disk: one SQLite file, readable by its owner only, of a bounded age and size."""

import logging
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from ollama_proxyd.core.history import Row
from ollama_proxyd.edges.storage.history_schema import MIGRATIONS
from ollama_proxyd.edges.storage.insertion import day_of, insert
from ollama_proxyd.edges.storage.settings import HistorySettings

log = logging.getLogger(__name__)

T = TypeVar("T")

VERSION: Final = len(MIGRATIONS)
LOCKED_FOR_S: Final = 1.0
"""How long another program's lock is waited for."""
PRUNED_ROWS: Final = 2000
"""How many rows of a table are deleted at a time: a clock that leaps for a moment costs no year."""
BYTES_PER_MEGABYTE: Final = 1_000_000
SECONDS_PER_DAY: Final = 86_400
CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
SIDE_FILES: Final = ("", "-wal", "-shm")
TABLES: Final = ("attempts", "requests", "modes")
"""Those that grow with each request or change of the mode, and keep its time."""
_DELETE = "DELETE FROM {0} WHERE id IN (SELECT id FROM {0} {1} LIMIT {2})"
DELETE_OLD: Final = [_DELETE.format(each, "WHERE unix_s < ? ORDER BY unix_s", PRUNED_ROWS) for each in TABLES]
"""Found by the index of their times: each batch of rows asks, and mostly there are none."""
DELETE_FIRST: Final = [_DELETE.format(each, "ORDER BY id", PRUNED_ROWS) for each in TABLES]
_DELETE_DEVICES: Final = """
    DELETE FROM devices WHERE (day, device, account, source) IN
    (SELECT day, device, account, source FROM devices WHERE day < ? ORDER BY day LIMIT 50)"""
"""A few days at a time, as with PRUNED_ROWS; these rows are too few to make a file full."""


class HistoryFile:
    """The file, opened at its first use; each method raises sqlite3.Error or OSError where it cannot do its work.

    A file that is damaged, or that a later version wrote, is set aside, and an empty one begun.
    """

    def __init__(self, path: Path, settings: HistorySettings) -> None:
        self.path = path
        self._settings = settings
        self.set_aside: tuple[str, str] | None = None
        """What an earlier file is called now, and why it was set aside."""
        self._connection: sqlite3.Connection | None = None
        self._file_id: tuple[int, int] | None = None
        """Which file it is that is open: SQLite writes on to one that was deleted."""

    def add(self, rows: Sequence[Row]) -> Exception | None:
        """Keep these rows, and let the oldest go where there are too many; where the file fails, none is kept.

        A row that no file would take is left out; returns why, for the last of them.
        """
        with self._damage_set_aside(), self._transaction() as connection:
            refused = insert(connection, rows)
        with self._damage_set_aside():
            self._prune()
        return refused

    def read(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """What a question to the file is answered with."""
        with self._damage_set_aside():
            return ask(self._open())

    def close(self) -> None:
        """Let go of the file; what was kept is in it."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _prune(self) -> None:
        """Delete the oldest rows beyond the limits, and give their space back to the disk."""
        connection = self._open()
        too_old_s = time.time() - self._settings.max_days * SECONDS_PER_DAY
        is_full = self._size_bytes(connection) > self._settings.max_megabytes * BYTES_PER_MEGABYTE
        with self._transaction():
            deleted = sum(connection.execute(delete, [too_old_s]).rowcount for delete in DELETE_OLD)
            if is_full:
                deleted += sum(connection.execute(delete).rowcount for delete in DELETE_FIRST)
            deleted += connection.execute(_DELETE_DEVICES, [day_of(too_old_s)]).rowcount
        if deleted:
            connection.executescript("PRAGMA incremental_vacuum")  # a cursor would take one page alone
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @staticmethod
    def _size_bytes(connection: sqlite3.Connection) -> int:
        """What is used of the file."""
        ((pages,),) = connection.execute("PRAGMA page_count")
        ((free_pages,),) = connection.execute("PRAGMA freelist_count")
        ((bytes_per_page,),) = connection.execute("PRAGMA page_size")
        return int((pages - free_pages) * bytes_per_page)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _damage_set_aside(self) -> Iterator[None]:
        """What is tried with a damaged file fails, and the next try has a new one."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if is_damaged(error):
                self._set_aside("unreadable", str(error))
            raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._file_id != _file_id(self.path):
            log.warning("%s was deleted; a new history is begun", self.path)
            self.close()
        if self._connection is None:
            _make(self.path)
            connection = sqlite3.connect(self.path, timeout=LOCKED_FOR_S, isolation_level=None, check_same_thread=False)
            try:
                self._connection = self._prepared(connection)
            except BaseException:
                connection.close()
                raise
            self._file_id = _file_id(self.path)
        return self._connection

    def _prepared(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """The connection to a file of this version."""
        connection.row_factory = sqlite3.Row
        ((version,),) = connection.execute("PRAGMA user_version")
        ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_schema")
        if version > VERSION or (tables and not version):
            connection.close()
            later = f"a later version of this program wrote it (schema {version})"
            self._set_aside(f"version-{version}", later if version else "another program wrote it")
            return self._open()
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 1000000").fetchall()
        if version < VERSION:
            _migrate(connection, version)
        return connection

    def _set_aside(self, suffix: str, why: str) -> None:
        """Keep a file that cannot be used under another name, where it is in no one's way."""
        self.close()
        aside = _free_name(self.path, suffix)
        for side in SIDE_FILES:
            with suppress(FileNotFoundError):
                Path(f"{self.path}{side}").replace(f"{aside}{side}")
        self.set_aside = aside.name, why
        log.warning("%s was set aside as %s: %s; a new history is begun", self.path, aside.name, why)


def history_path(state_file: Path) -> Path:
    """Where the history belongs: beside the state."""
    return state_file.with_name("history.db")


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """The history, to be read by another program than the daemon; raises sqlite3.Error and OSError."""
    if not path.exists():
        raise FileNotFoundError(2, os.strerror(2), str(path))
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=LOCKED_FOR_S)) as connection:
        connection.row_factory = sqlite3.Row
        ((version,),) = connection.execute("PRAGMA user_version")
        if version != VERSION:
            raise sqlite3.NotSupportedError(f"its schema is {version}, not {VERSION}")
        yield connection


def is_of_another_version(error: Exception) -> bool:
    """Whether a file could be read by the version that wrote it."""
    return isinstance(error, sqlite3.NotSupportedError)


def is_damaged(error: Exception) -> bool:
    """Whether a file is none of SQLite's, or broken."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in CORRUPT


def _make(path: Path) -> None:
    """Have an empty file that only its owner can read, unless there is one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "it is not a plain file", str(path))
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring an older file to this version, in one step or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _free_name(path: Path, suffix: str) -> Path:
    """A name that no file has."""
    names = (path.with_name(f"{path.name}.{suffix}{extra}") for extra in ("", *(f"-{n}" for n in range(2, 100))))
    return next((each for each in names if not each.exists()), path.with_name(f"{path.name}.{suffix}"))
