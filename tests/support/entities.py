"""A state store in memory, held to the same contract tests as the real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from keydrift.adapters.entity_rules import decode_body, encode_operations
from keydrift.ports import Delete, Entity, StateConflictError, Write


class MemoryEntities:
    """An `EntityStore` whose entities are gone with it. Bodies are kept as JSON text, so nobody shares a mutable one."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, str], tuple[str, str]] = {}
        self._versions = count(1)

    async def get(self, partition: str, row: str) -> Entity | None:
        found = self._stored.get((partition, row))
        return None if found is None else _entity(partition, row, *found)

    async def query(self, partition: str, row_prefix: str = "") -> Sequence[Entity]:
        rows = sorted(row for key, row in self._stored if key == partition and row.startswith(row_prefix))
        return [_entity(partition, row, *self._stored[partition, row]) for row in rows]

    async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
        encoded = encode_operations(operations)
        for operation in operations:
            stored = self._stored.get((operation.partition, operation.row), (None, None))[1]
            if isinstance(operation, Delete):
                is_current = operation.etag in {None, "*", stored}
            else:
                is_current = operation.entity.etag in {"*", stored}
            if not is_current:
                raise StateConflictError(f"the entity `{operation.partition}` `{operation.row}` changed")
        written = []
        for operation, body in encoded:
            key = (operation.partition, operation.row)
            if isinstance(operation, Delete):
                self._stored.pop(key, None)
                continue
            etag = f"version-{next(self._versions)}"
            self._stored[key] = (body, etag)
            written.append(replace(operation.entity, etag=etag))
        return written

    async def close(self) -> None:
        """Keep everything: a store in memory has nothing to close."""


def _entity(partition: str, row: str, body: str, etag: str) -> Entity:
    return Entity(partition=partition, row=row, body=decode_body(body, partition=partition, row=row), etag=etag)
