"""The state store in Azure: entities in one table of a storage account (or of Azurite).

A body is JSON text, so that no number or null changes on the way, cut into properties `Body00`, `Body01`, ... Keys are
escaped into the few characters that Azure Tables takes everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote

from keydrift.adapters.entity_rules import Encoded, decode_body, encode_operations, foreign_entity
from keydrift.adapters.storage_account import MISSING_CONTAINER, StorageContainer, error_code, parse_connection_string
from keydrift.ports import Delete, Entity, StateConflictError, Write

if TYPE_CHECKING:
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.core.rest import AsyncHttpResponse, HttpRequest
    from azure.data.tables import TransactionOperation
    from azure.data.tables.aio import TableClient

    type Operation = tuple[TransactionOperation, Mapping[str, str], Mapping[str, object]]

# A string property holds 64 KiB of UTF-16, a key 1 KiB:
# learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
PROPERTY_CHARS = 30_000
KEY_CHARS = 512
_CUT_CHARS = 440
_SAFE = ":@(),=|"


class TableEntities:
    """An `EntityStore` in the table `table_name`, created when absent; `close` it when done.

    `endpoint` is the account's table endpoint (`https://ACCOUNT.table.core.windows.net`). `transport` replaces the SDK's own.
    """

    def __init__(
        self,
        endpoint: str,
        credential: AsyncTokenCredential | AzureNamedKeyCredential,
        table_name: str,
        transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse] | None = None,
    ) -> None:
        from azure.data.tables.aio import TableClient  # noqa: PLC0415 - importing it is cold-start time

        # The queue's redelivery and the timers retry too: a call gives up within seconds.
        self._client: TableClient = TableClient(
            endpoint, table_name, credential=credential, retry_total=3, retry_backoff_factor=0.4, transport=transport
        )
        self._table = StorageContainer("table", table_name)

    @classmethod
    def from_connection_string(
        cls,
        connection_string: str,
        table_name: str,
        transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse] | None = None,
    ) -> Self:
        """Return a store that signs in with an account key: Azurite's. Raises `ConfigError`."""
        endpoint, credential = parse_connection_string(connection_string, "table")
        return cls(endpoint, credential, table_name, transport)

    async def get(self, partition: str, row: str) -> Entity | None:
        """Return the entity as stored now, or None. Raises `StateError`."""
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415 - as above

        await self._table.ensure(self._client.create_table)
        with self._table.errors():
            try:
                found = await self._client.get_entity(encode_key(partition), encode_key(row))
            except ResourceNotFoundError as error:
                if error_code(error) in MISSING_CONTAINER:
                    raise
                return None
        return _decode(partition, found, found.metadata.get("etag"))

    async def query(self, partition: str, row_prefix: str = "") -> Sequence[Entity]:
        """Return the partition's entities whose row starts with `row_prefix`, ordered by row. Raises `StateError`."""
        await self._table.ensure(self._client.create_table)
        condition = f"PartitionKey eq '{encode_key(partition)}'"
        # The filter may let more through (a cut key holds the row's beginning only); what is returned is checked below.
        if start := _escape(row_prefix)[:_CUT_CHARS]:
            condition += f" and RowKey ge '{start}' and RowKey lt '{start[:-1]}{chr(ord(start[-1]) + 1)}'"
        with self._table.errors():
            found = [_decode(partition, each, each.metadata.get("etag")) async for each in self._client.query_entities(condition)]
        return sorted((each for each in found if each.row.startswith(row_prefix)), key=lambda each: each.row)

    async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
        """Apply all operations or none, as `EntityStore.transact` says."""
        encoded = encode_operations(operations)
        await self._table.ensure(self._client.create_table)
        while encoded:
            try:
                return await self._submit(encoded)
            except _MissingEntityError as error:
                # A transaction fails whole where it deletes what is not there: that is what was asked for, so leave it out.
                rest = [each for each in encoded if not await self._is_deleted_already(each[0])]
                if len(rest) == len(encoded):
                    raise StateConflictError("an entity to be replaced or deleted is gone: read again") from error
                encoded = rest
        return ()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _submit(self, encoded: Sequence[Encoded]) -> Sequence[Entity]:
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - as above

        with self._table.errors():
            try:
                answers = await self._client.submit_transaction([_operation(*each) for each in encoded])
            except HttpResponseError as error:
                if error.status_code != 404 or error_code(error) in MISSING_CONTAINER:
                    raise
                raise _MissingEntityError from error
        return [
            replace(operation.entity, etag=str(answer["etag"]))
            for (operation, _), answer in zip(encoded, answers, strict=True)
            if isinstance(operation, Write)
        ]

    async def _is_deleted_already(self, operation: Write | Delete) -> bool:
        if isinstance(operation, Write) or operation.etag not in {None, "*"}:
            return False
        return await self.get(operation.partition, operation.row) is None


class _MissingEntityError(Exception):
    """The transaction names an entity that is not there."""


def encode_key(key: str) -> str:
    """Return a partition or row key of at most 512 safe ASCII characters, different for different keys.

    Percent-encoded, with `!` for the percent sign: Azure Tables forbids `/`, `\\`, `#`, `?` and control characters in keys, and
    decodes a URL's `%` and `+` twice (learn.microsoft.com/archive/blogs/windowsazurestorage/partitionkey-or-rowkey-containing-
    the-percent-character-causes-some-windows-azure-tables-apis-to-fail). A prefix's encoding is a prefix of the key's encoding.
    A key whose encoding is too long is cut and ends in `~` and its SHA-256.
    """
    escaped = _escape(key)
    if len(escaped) <= KEY_CHARS:
        return escaped
    return f"{escaped[:_CUT_CHARS]}~{hashlib.sha256(key.encode()).hexdigest()}"


def decode_key(encoded: str) -> str:
    """Return the key that `encode_key` was given, unless it was cut."""
    return unquote(encoded.replace("!", "%"), errors="strict")


def _escape(key: str) -> str:
    # `quote` never escapes `~`, which marks a cut key.
    return quote(key, safe=_SAFE).replace("~", "%7E").replace("%", "!")


def _operation(operation: Write | Delete, body: str) -> Operation:
    from azure.core import MatchConditions  # noqa: PLC0415 - as above
    from azure.data.tables import TransactionOperation, UpdateMode  # noqa: PLC0415 - as above

    keys = {"PartitionKey": encode_key(operation.partition), "RowKey": encode_key(operation.row)}
    etag = operation.etag if isinstance(operation, Delete) else operation.entity.etag
    unchanged = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
    if isinstance(operation, Delete):
        return TransactionOperation.DELETE, keys, {} if etag in {None, "*"} else unchanged
    cuts = range(0, len(body), PROPERTY_CHARS)
    entity = keys | {f"Body{index:02}": body[start : start + PROPERTY_CHARS] for index, start in enumerate(cuts)}
    if "~" in keys["RowKey"]:
        entity["Row"] = operation.row
    # Replace, never merge: a shorter body must not keep a longer one's last properties.
    if etag is None:
        return TransactionOperation.CREATE, entity, {}
    if etag == "*":
        return TransactionOperation.UPSERT, entity, {"mode": UpdateMode.REPLACE}
    return TransactionOperation.UPDATE, entity, {"mode": UpdateMode.REPLACE} | unchanged


def _decode(partition: str, found: Mapping[str, object], etag: object) -> Entity:
    row = str(found["Row"] if "Row" in found else decode_key(str(found["RowKey"])))
    parts = [value for name, value in sorted(found.items()) if name.startswith("Body") and isinstance(value, str)]
    if not isinstance(etag, str):
        raise foreign_entity(partition, row)
    return Entity(partition=partition, row=row, body=decode_body("".join(parts), partition=partition, row=row), etag=etag)
