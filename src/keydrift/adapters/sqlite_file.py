"""One SQLite file, shared by the laptop's state store and queues, and by several processes.

Holds the schema and the rules of sharing (WAL, one writer at a time, time-outs); knows nothing of entities or messages.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from keydrift.ports import StateError

SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 10.0
_SCHEMA = (
    """CREATE TABLE entity (
        partition TEXT NOT NULL, row TEXT NOT NULL, body TEXT NOT NULL, etag TEXT NOT NULL,
        PRIMARY KEY (partition, row)
    ) STRICT""",
    # Times are microseconds since 1970 UTC: integers compare exactly.
    """CREATE TABLE message (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
        inserted_us INTEGER NOT NULL, due_us INTEGER NOT NULL, dequeue_count INTEGER NOT NULL, receipt TEXT
    ) STRICT""",
    "CREATE INDEX message_due ON message (queue, due_us, sequence)",
)


class SqliteFile:
    """A lazily opened connection, used from a thread of its own so that the event loop never waits for a disk."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None

    async def read[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, which makes one SELECT. Raises `StateError`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)

    async def write[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction, rolled back when it raises. Raises `StateError`, and what `work` raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, lambda db: _transaction(db, work))

    async def close(self) -> None:
        """Close the file, after the work begun before. May be called again."""
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
            self._connection = None
        self._thread.shutdown(wait=False)

    def _guarded[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = _open(self._path)
            return work(self._connection)
        except sqlite3.Error as error:
            raise self._state_error(error) from error

    def _state_error(self, error: sqlite3.Error) -> StateError:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        # An extended name (SQLITE_BUSY_SNAPSHOT) begins with its primary one.
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return StateError(
                f"the state file `{self._path}` stays locked ({name}): end the program that holds it",
                transient=True,
            )
        return StateError(
            f"the state file `{self._path}` cannot be used ({name}): check its folder, its permissions and the free space",
            transient=False,
        )


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        _use_wal(connection)
        # In WAL mode NORMAL may lose the last commits to a power cut. An alert's number would then be given out twice.
        connection.execute("PRAGMA synchronous = FULL")
        _transaction(connection, lambda db: _migrate(db, path))
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not call its busy handler where two processes switch the same new file to WAL (sqlite.org/wal.html).
    give_up_at = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(0.02)
        else:
            return


def _transaction[T](connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        # Some failures (a full disk) have ended the transaction already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        raise StateError(
            f"the state file `{path}` was written by a newer version (schema {version}, this one knows {SCHEMA_VERSION}): "
            "upgrade, or name another file",
            transient=False,
        )
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version != 0 or tables:
        raise StateError(f"the file `{path}` holds another program's data: name another state file", transient=False)
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
