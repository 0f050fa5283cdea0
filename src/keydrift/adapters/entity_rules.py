"""The limits that every state store keeps, whichever it is: what a laptop's store accepts, Azure Tables accepts too.

Limits: learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model (an entity holds 1 MiB of
UTF-16) and .../performing-entity-group-transactions (100 operations on one partition, each row once, 4 MiB of payload).
No I/O here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from keydrift.ports import Delete, StateError, Write

MAX_OPERATIONS = 100
MAX_KEY_CHARS = 1_000
MAX_BODY_CHARS = 500_000
"""Of ASCII JSON: twice that in UTF-16, which leaves the rest of the mebibyte to keys and property names."""
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
_OPERATION_BYTES = 8 * 1024
"""More than one operation's MIME headers, URL and property names take."""

type Encoded = tuple[Write | Delete, str]


def encode_operations(operations: Sequence[Write | Delete]) -> Sequence[Encoded]:
    """Check a transaction and pair each operation with its body as ASCII JSON text (empty for a delete).

    Raises ValueError where the caller broke a rule of `EntityStore.transact` or a body is not JSON, and `StateError` where
    bodies outgrew what Azure Tables holds.
    """
    if len(operations) > MAX_OPERATIONS:
        raise ValueError(f"a transaction takes at most {MAX_OPERATIONS} operations, not {len(operations)}")
    if len({each.partition for each in operations}) > 1:
        raise ValueError("a transaction stays within one partition")
    if len({each.row for each in operations}) < len(operations):
        raise ValueError("a transaction names each row at most once")
    encoded = [(each, _encode_operation(each)) for each in operations]
    # A body travels as a JSON string inside JSON, so its quotation marks and backslashes are escaped once more.
    payload = sum(len(json.dumps(body)) + _OPERATION_BYTES for _, body in encoded)
    if payload > MAX_PAYLOAD_BYTES:
        raise StateError(
            f"a transaction of {payload} bytes is above the limit of {MAX_PAYLOAD_BYTES}: write fewer entities at once",
            transient=False,
        )
    return encoded


def decode_body(text: str, *, partition: str, row: str) -> Mapping[str, object]:
    """Return the JSON object that `encode_operations` made; `StateError` where something else wrote the entity."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise foreign_entity(partition, row) from error
    if not isinstance(body, dict):
        raise foreign_entity(partition, row)
    return body


def foreign_entity(partition: str, row: str) -> StateError:
    """Return the error for an entity that is in the store but in no form that this program writes."""
    return StateError(f"the stored entity `{partition}` `{row}` is not in this program's form: delete it", transient=False)


def _encode_operation(operation: Write | Delete) -> str:
    for key in (operation.partition, operation.row):
        if len(key) > MAX_KEY_CHARS:
            raise ValueError(f"a key has at most {MAX_KEY_CHARS} characters, not {len(key)}")
        key.encode("utf-8")  # raises UnicodeEncodeError, a ValueError, for a lone surrogate: no store holds one
    if isinstance(operation, Delete):
        return ""
    body = json.dumps(dict(operation.entity.body), allow_nan=False, separators=(",", ":"))
    if len(body) > MAX_BODY_CHARS:
        raise StateError(
            f"the entity `{operation.partition}` `{operation.row}` takes {len(body)} characters as JSON, above the limit of "
            f"{MAX_BODY_CHARS} (Azure Tables holds 1 MiB an entity): keep less in one entity",
            transient=False,
        )
    return body
