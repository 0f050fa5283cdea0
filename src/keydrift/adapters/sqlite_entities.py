"""The state store on a laptop: entities in one SQLite file."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from keydrift.adapters.entity_rules import Encoded, decode_body, encode_operations
from keydrift.adapters.sqlite_file import SqliteFile
from keydrift.ports import Delete, Entity, StateConflictError, Write


class SqliteEntities:
    """An `EntityStore` in the SQLite file at `path`, created when absent; `close` it when done."""

    def __init__(self, path: str | Path) -> None:
        self._file = SqliteFile(path)

    async def get(self, partition: str, row: str) -> Entity | None:
        """Return the entity as stored now, or None. Raises `StateError`."""

        def read(db: sqlite3.Connection) -> Entity | None:
            found = db.execute("SELECT row, body, etag FROM entity WHERE partition = ? AND row = ?", (partition, row)).fetchone()
            return None if found is None else _entity(partition, *found)

        return await self._file.read(read)

    async def query(self, partition: str, row_prefix: str = "") -> Sequence[Entity]:
        """Return the partition's entities whose row starts with `row_prefix`, ordered by row. Raises `StateError`."""

        def read(db: sqlite3.Connection) -> Sequence[Entity]:
            # SQLite's length() and LIKE stop at a NUL character; its comparison and order do not.
            rows = db.execute(
                "SELECT row, body, etag FROM entity WHERE partition = ? AND row >= ? ORDER BY row", (partition, row_prefix)
            )
            found = []
            for row, body, etag in rows:
                if not row.startswith(row_prefix):
                    break
                found.append(_entity(partition, row, body, etag))
            return found

        return await self._file.read(read)

    async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
        """Apply all operations or none, as `EntityStore.transact` says."""
        encoded = encode_operations(operations)
        if not encoded:
            return ()
        return await self._file.write(lambda db: [entity for each in encoded if (entity := _apply(db, each)) is not None])

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()


def _entity(partition: str, row: str, body: str, etag: str) -> Entity:
    return Entity(partition=partition, row=row, body=decode_body(body, partition=partition, row=row), etag=etag)


def _apply(db: sqlite3.Connection, encoded: Encoded) -> Entity | None:
    operation, body = encoded
    key = (operation.partition, operation.row)
    found = db.execute("SELECT etag FROM entity WHERE partition = ? AND row = ?", key).fetchone()
    stored = None if found is None else found[0]
    if isinstance(operation, Delete):
        if operation.etag not in {None, "*", stored}:
            raise StateConflictError(f"the entity `{operation.partition}` `{operation.row}` changed")
        db.execute("DELETE FROM entity WHERE partition = ? AND row = ?", key)
        return None
    # Without an ETag nothing may be stored; with one, that very version.
    if operation.entity.etag not in {"*", stored}:
        raise StateConflictError(f"the entity `{operation.partition}` `{operation.row}` changed")
    # Random, so that no ETag comes back when an entity is deleted and inserted again.
    etag = uuid.uuid4().hex
    db.execute("INSERT OR REPLACE INTO entity (partition, row, body, etag) VALUES (?, ?, ?, ?)", (*key, body, etag))
    return replace(operation.entity, etag=etag)
